// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/error.h"
#include "linalg/backend.h"

namespace corda::linalg::cuda {

Spectrum left_subspace(const at::Tensor&, std::int64_t, Which) {
  throw core::ResourceError("[linalg::cuda] not written yet; use --device cpu");
}

Spectrum generalised_top(const at::Tensor&, const at::Tensor&, std::int64_t) {
  throw core::ResourceError("[linalg::cuda] not written yet; use --device cpu");
}

}  // namespace corda::linalg::cuda
