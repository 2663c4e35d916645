// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Forward and backward of a model whose parameters are split over ranks: one block whole at a time.
#pragma once

#include <memory>

#include "corda/model/batch.h"
#include "corda/model/forward.h"
#include "train/gradient_pass.h"
#include "train/sharded_parameters.h"

namespace corda::train {

// The forward keeps the blocks' inputs alone; in the backward each block is computed again under
// autograd, in the same operations as make_autograd_pass's, and its gradients go to the ranks that
// own them. All ranks must run equally many batches. `parameters` holds those of the model, and
// both must outlive the pass.
std::unique_ptr<GradientPass> make_sharded_pass(model::Model& model, ShardedParameters& parameters,
                                                model::Operations operations);

// model::loss_sum without gradients, made by all ranks alike.
at::Tensor sharded_loss_sum(const model::Model& model, ShardedParameters& parameters,
                            const model::Batch& batch);

}  // namespace corda::train
