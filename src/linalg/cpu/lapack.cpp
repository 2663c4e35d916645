// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The reference: plain LAPACK routes, each exact to fp64; the CUDA backend is tested against it.
#include <ATen/ATen.h>

#include "corda/core/error.h"
#include "linalg/backend.h"

namespace corda::linalg::cpu {

using core::concat;
using core::NumericalError;

namespace {

// Runs a LAPACK-backed call; a failure becomes a NumericalError with routine and shape.
template <typename Call>
auto checked(const char* routine, const at::Tensor& matrix, const char* advice, Call&& call) {
  try {
    return call();
  } catch (const c10::LinAlgError& error) {
    throw NumericalError(concat("[linalg::cpu] ", routine, " failed on a matrix ", matrix.sizes(),
                                ": ", error.what_without_backtrace(), advice));
  }
}

struct Svd {
  at::Tensor u;
  at::Tensor s;
};

Svd svd_of(const at::Tensor& matrix) {
  return checked("gesdd", matrix, "", [&] {
    auto [u, s, vh] = at::linalg_svd(matrix, /*full_matrices=*/false);
    return Svd{std::move(u), std::move(s)};
  });
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

Spectrum generalised_top(const at::Tensor& task, const at::Tensor& knowledge_damped,
                         std::int64_t r) {
  const at::Tensor lower = checked("potrf", knowledge_damped, "; raise the damping",
                                   [&] { return at::linalg_cholesky(knowledge_damped); });
  // G = L^-1 C_task L^-T has the same eigenvalues; a = L^-T g.
  const at::Tensor half = at::linalg_solve_triangular(lower, task, /*upper=*/false);
  const at::Tensor gram = at::linalg_solve_triangular(lower, half.t(), /*upper=*/false);
  const auto [values, vectors] =
      checked("syevd", gram, "", [&] { return at::linalg_eigh((gram + gram.t()) / 2); });
  const std::int64_t begin = values.size(0) - r;
  Spectrum result;
  result.route = "cholesky-eigh";
  result.values = values.narrow(0, begin, r).flip(0);
  const at::Tensor top = vectors.narrow(1, begin, r).flip(1);
  result.vectors = at::linalg_solve_triangular(lower.t(), top, /*upper=*/true);
  result.total = gram.diagonal().sum().item<double>();
  return result;
}

}  // namespace corda::linalg::cpu
