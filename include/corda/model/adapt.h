// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Puts an adapter onto a model in memory.
#pragma once

#include "corda/adapter/adapter.h"
#include "corda/model/model.h"

namespace corda::model {

// Replaces each adapted weight by its effective weight, computed in fp32 and rounded once; the
// head's too where it is not tied. Throws ShapeError for a layer that the model has not or has in
// another shape, FormatError for a head that cannot be adapted; so does `attach_trainable`, for any
// head.
void fold_adapter(Model& model, const adapter::Adapter& adapter);

// Leaves the weight alone and adds the exported product beside it, as PEFT runs the directory:
// [B - B0, B0] [A; A - A0] where the start is subtracted, else B A. Throws ShapeError.
void attach_exported(Linear& linear, const adapter::LayerAdapter& layer, double scale);

// Prepares the model for training: the frozen weight becomes W - s B0 A0 where the start is
// subtracted (fp32, rounded once to the weight's dtype) and fresh leaves of A and B (and the
// magnitude) run beside it. They are on the model's device, fp32, and require gradients (A and B
// where the adapter trains them). Adjacent layers with equal A that are not trained (q, k and v of
// mode dual) hold one tensor.
void attach_trainable(Model& model, const adapter::Adapter& adapter);

// ||W_i||^2 of every row of a weight [out, in], [out], fp32.
at::Tensor row_squares(const at::Tensor& weight);

}  // namespace corda::model
