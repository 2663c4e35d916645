// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What a task asks of the inputs of every layer, by the gradient of its loss.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/data/batch.h"
#include "corda/data/sample_store.h"
#include "corda/model/model.h"

namespace corda::covariance {

// The samples that one gradient is of, in micro-batches.
struct GradientBatch {
  std::vector<data::PackedBatch> parts;
  std::int64_t targets = 0;  // above 0
};

// Shuffles the samples by `seed`, takes the first so many, and makes batches of `batch_size` of
// them, the last of what is left; parts hold at most `part_tokens` tokens, or one sample. Samples
// without a target must not be among them.
std::vector<GradientBatch> gradient_batches(const data::SampleStore& samples, std::int64_t count,
                                            std::int64_t batch_size, std::int64_t part_tokens,
                                            std::uint64_t seed);

// By the names of model::sites_of.
using Grams = std::map<std::string, at::Tensor>;

// Sum over the batches of G^T G [in, in], fp32 on the model's device. G is the gradient of the mean
// cross-entropy of a batch's targets with respect to the weights of a site's layers, one above the
// other [sum of out, in], so layers that are stored as one matrix give what they give apart. The
// linear layers of the blocks must be dense, and are left as they were.
Grams gradient_grams(model::Model& model, const std::vector<GradientBatch>& batches,
                     core::Reporter& reporter);

// Throws NumericalError that names a site whose sum is not finite.
void require_finite(const Grams& grams);

}  // namespace corda::covariance
