// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// How likely a model finds continuations; the memory does not grow with the vocabulary.
#pragma once

#include <cstdint>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/model/model.h"

namespace corda::eval {

// The last `targets` of `ids` are predicted, each from all before it; at least one stands before
// them.
struct LikelihoodRequest {
  std::vector<std::int32_t> ids;
  std::int64_t targets = 0;
};

struct LogLikelihood {
  double sum = 0;       // natural logarithms, computed in fp32 from the model's logits
  bool greedy = false;  // each target is the likeliest token (ties: the lowest id)
};

// One for each request, in order. `batch_tokens` bounds what is computed at once. Requests that
// begin alike share that part of the work, wherever they stand. Throws NumericalError for a result
// that is not finite.
std::vector<LogLikelihood> log_likelihoods(const model::Model& model,
                                           const std::vector<LikelihoodRequest>& requests,
                                           std::int64_t batch_tokens, core::Reporter& reporter);

}  // namespace corda::eval
