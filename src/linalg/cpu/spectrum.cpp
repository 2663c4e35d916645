// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The reference: plain LAPACK routes, each exact to fp64; the CUDA backend is tested against it.
#include <ATen/ATen.h>

#include <utility>

#include "corda/core/error.h"
#include "linalg/backend.h"

namespace corda::linalg::cpu {

namespace {

struct Svd {
  at::Tensor u;
  at::Tensor s;
};

Svd svd_of(const at::Tensor& matrix) {
  try {
    auto [u, s, vh] = at::linalg_svd(matrix, /*full_matrices=*/false);
    return {std::move(u), std::move(s)};
  } catch (const c10::LinAlgError& error) {
    throw core::NumericalError(
        core::concat("the singular vectors were not found: gesdd failed on a matrix ",
                     matrix.sizes(), ": ", error.what_without_backtrace()));
  }
}

// Left singular vectors of M. A QR first makes the SVD square where M is far from it.
Svd left_svd(const at::Tensor& matrix) {
  const std::int64_t rows = matrix.size(0);
  const std::int64_t columns = matrix.size(1);
  if (rows == columns) return svd_of(matrix);
  if (rows < columns) {
    const at::Tensor triangle =
        std::get<1>(at::linalg_qr(matrix.t(), "r"));  // M^T = Q R, M = R^T Q^T
    return svd_of(triangle.t());
  }
  const auto [q, triangle] = at::linalg_qr(matrix, "reduced");
  Svd inner = svd_of(triangle);
  return {at::mm(q, inner.u), inner.s};
}

}  // namespace

Spectrum left_subspace(const at::Tensor& matrix, std::int64_t r, Which which) {
  const Svd svd = left_svd(matrix);
  Spectrum result;
  result.route = "svd";
  if (which == Which::kLargest) {
    result.vectors = svd.u.narrow(1, 0, r).contiguous();
    result.values = svd.s.narrow(0, 0, r).contiguous();
  } else {
    const std::int64_t begin = svd.s.size(0) - r;
    result.vectors = svd.u.narrow(1, begin, r).flip(1);
    result.values = svd.s.narrow(0, begin, r).flip(0);
  }
  return result;
}

Eigenpairs largest_eigenpairs(at::Tensor matrix, std::int64_t r) {
  const Eigenpairs all = eigenpairs(matrix);
  const std::int64_t begin = all.values.size(0) - r;
  return {all.values.narrow(0, begin, r).flip(0), all.vectors.narrow(1, begin, r).flip(1)};
}

}  // namespace corda::linalg::cpu
