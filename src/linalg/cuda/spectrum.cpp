// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <ATen/ATen.h>

#include <limits>
#include <optional>

#include "linalg/backend.h"
#include "linalg/cuda/cusolver.h"

namespace corda::linalg::cuda {

namespace {

// M = K Q^T (wide, K = R^T) or M = Q K (tall, K = R): the square K has M's singular values.
struct Reduced {
  at::Tensor packed;  // what geqrf left: R and the reflectors of Q
  at::Tensor tau;
  at::Tensor lower;  // R^T [k, k]
  bool tall = false;
};

at::Tensor lower_of(const at::Tensor& packed) {
  return packed.narrow(1, 0, packed.size(0)).tril().contiguous();
}

Reduced reduce(Solver& solver, const at::Tensor& matrix) {
  Reduced result;
  result.tall = matrix.size(0) > matrix.size(1);
  result.packed = (result.tall ? matrix.t() : matrix).clone(at::MemoryFormat::Contiguous);
  result.tau = solver.qr(result.packed);
  result.lower = lower_of(result.packed);
  return result;
}

// Left singular vectors of M from those of K, one a row.
at::Tensor expand(Solver& solver, const Reduced& reduced, const at::Tensor& rows) {
  if (!reduced.tall) return rows;
  at::Tensor padded = at::zeros({rows.size(0), reduced.packed.size(1)}, rows.options());
  padded.narrow(1, 0, rows.size(1)).copy_(rows);
  solver.apply_q(reduced.packed, reduced.tau, padded);
  return padded;
}

bool is_singular(const at::Tensor& lower) {
  const at::Tensor diagonal = lower.diagonal().abs();
  const double threshold =
      static_cast<double>(lower.size(0)) * std::numeric_limits<double>::epsilon();
  return diagonal.min().item<double>() <= threshold * diagonal.max().item<double>();
}

// The smallest left singular vectors of K, one a row.
struct Smallest {
  at::Tensor rows;
  at::Tensor values;
  const char* route = "";
};

// Returns nothing where rounding made K singular, so that it has no finite inverse, or one without
// eigenvalues above zero. Takes the memory of reduced.lower.
std::optional<Smallest> smallest_by_inverse(Solver& solver, Reduced& reduced, std::int64_t r) {
  if (is_singular(reduced.lower)) return std::nullopt;
  // (K K^T)^-1 = K^-T K^-1: its largest eigenvalues are the smallest sigma^-2. The inverse is exact
  // to rounding in exactly those directions, which a Gram matrix would lose (cond^2).
  solver.invert_lower(reduced.lower);  // R^-T
  const at::Tensor& inverse = reduced.lower;
  at::Tensor gram = reduced.tall ? at::mm(inverse, inverse.t()) : at::mm(inverse.t(), inverse);
  if (!gram.isfinite().all().item<bool>()) return std::nullopt;
  const auto eigen = solver.eigen_top(gram, r);
  const at::Tensor values = eigen.values.rsqrt();
  if (!values.isfinite().all().item<bool>()) return std::nullopt;
  return Smallest{eigen.rows, values, "qr-inverse-eigh"};
}

// The SVD of K, which tells null space and the rest apart.
Smallest smallest_by_svd(Solver& solver, const Reduced& reduced, std::int64_t r) {
  const at::Tensor lower = lower_of(reduced.packed);
  const auto svd = solver.left_svd(reduced.tall ? lower.t().contiguous() : lower);
  const std::int64_t begin = svd.values.size(0) - r;
  return {svd.rows.narrow(0, begin, r).flip(0), svd.values.narrow(0, begin, r).flip(0), "qr-svd"};
}

Spectrum smallest(const at::Tensor& matrix, std::int64_t r) {
  Solver solver(matrix.device());
  Reduced reduced = reduce(solver, matrix);
  const auto by_inverse = smallest_by_inverse(solver, reduced, r);
  const Smallest found = by_inverse ? *by_inverse : smallest_by_svd(solver, reduced, r);
  Spectrum result;
  result.vectors = expand(solver, reduced, found.rows).t().contiguous();
  result.values = found.values;
  result.route = found.route;
  return result;
}

Spectrum largest(const at::Tensor& matrix, std::int64_t r) {
  Solver solver(matrix.device());
  Spectrum result;
  if (matrix.size(0) <= matrix.size(1)) {
    at::Tensor gram = at::mm(matrix, matrix.t());
    result.vectors = solver.eigen_top(gram, r).rows.t().contiguous();
    result.route = "gram-eigh";
  } else {
    const Reduced reduced = reduce(solver, matrix);
    at::Tensor gram = at::mm(reduced.lower.t(), reduced.lower);  // R R^T
    result.vectors = expand(solver, reduced, solver.eigen_top(gram, r).rows).t().contiguous();
    result.route = "qr-gram-eigh";
  }
  // ||u^T M|| is accurate to second order in the error of u; the root of the eigenvalue is not.
  result.values = at::linalg_vector_norm(at::mm(result.vectors.t(), matrix), 2, at::IntArrayRef{1});
  return result;
}

}  // namespace

Spectrum left_subspace(const at::Tensor& matrix, std::int64_t r, Which which) {
  return which == Which::kSmallest ? smallest(matrix, r) : largest(matrix, r);
}

Eigenpairs largest_eigenpairs(at::Tensor matrix, std::int64_t r) {
  at::Tensor a = matrix.contiguous();
  const auto eigen = Solver(a.device()).eigen_top(a, r);
  return {eigen.values, eigen.rows.t()};
}

}  // namespace corda::linalg::cuda
