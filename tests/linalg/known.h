// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A matrix whose eigenpairs are known.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "linalg/layers.h"

namespace corda::testing {

// Symmetric [n, n]; its eigenvectors are columns of `vectors`, in the order of `values` [n].
struct Known {
  at::Tensor matrix;
  at::Tensor vectors;
  at::Tensor values;
};

inline Known known(const at::Tensor& values) {
  const at::Tensor vectors = orthogonal(values.size(0));
  return {at::mm(vectors * values, vectors.t()), vectors, values};
}

// A matrix with the eigenvalues n, n - 1, ... 1.
inline Known known(std::int64_t n) { return known(at::arange(n, 0, -1, at::kDouble)); }

}  // namespace corda::testing
