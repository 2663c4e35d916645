// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "linalg/lanczos.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "corda/core/error.h"

namespace corda::linalg {

namespace {

using core::concat;

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

// Cholesky QR in passes that are judged together at the end: a look at each would make the GPU wait
// for the host every time.
class CholeskyQr {
 public:
  // One pass. `shift` (relative to the trace of the Gram matrix) lets it go through where the
  // columns are nearly dependent, at the price of orthogonality, which a further pass restores
  // (Fukaya et al. 2020).
  at::Tensor pass(const at::Tensor& z, double shift) {
    at::Tensor gram = at::mm(z.t(), z);
    if (shift > 0) gram.diagonal().add_(gram.diagonal().sum() * shift);
    const auto [lower, info] = at::linalg_cholesky_ex(gram);
    info_ = info_.defined() ? info_ + info.abs() : info.abs();
    return at::linalg_solve_triangular(lower, z.t(), /*upper=*/false).t();
  }
  // Two passes: orthonormal to 1e-3 at worst.
  at::Tensor rough(const at::Tensor& z) {
    // Columns of one length, so that the shift is small against each of them.
    const at::Tensor norms = at::linalg_vector_norm(z, 2, at::IntArrayRef{0});
    return pass(pass(z / norms.clamp_min(std::numeric_limits<double>::min()), 1e-13), 0);
  }
  // Whether every pass went through.
  bool succeeded() const { return info_.item<int>() == 0; }

 private:
  at::Tensor info_;
};

std::tuple<at::Tensor, at::Tensor> eigh(const at::Tensor& matrix) {
  try {
    return at::linalg_eigh(matrix);
  } catch (const c10::LinAlgError& error) {
    throw core::NumericalError(concat("[linalg::lanczos] syevd failed on a matrix ", matrix.sizes(),
                                      ": ", error.what_without_backtrace()));
  }
}

}  // namespace

at::Tensor scrambled(std::int64_t rows, std::int64_t columns, std::int64_t seed,
                     at::Device device) {
  // Integer arithmetic (splitmix64's constants, wrapping), hence equal everywhere.
  at::Tensor x = at::arange(rows * columns, at::TensorOptions().dtype(at::kLong).device(device));
  x = (x + seed * 1000003 + 1) * static_cast<std::int64_t>(-7046029254386353131);
  x = (x ^ (x.bitwise_right_shift(30) & 0x3ffffffff)) *
      static_cast<std::int64_t>(-4658895280553007687);
  x = (x ^ (x.bitwise_right_shift(27) & 0x1fffffffff)) *
      static_cast<std::int64_t>(-7723592293110705685);
  x = (x ^ (x.bitwise_right_shift(31) & 0x1ffffffff)) & ((std::int64_t{1} << 52) - 1);
  const double unit = 1.0 / static_cast<double>(std::int64_t{1} << 51);
  return (x.to(at::kDouble) * unit - 1).view({rows, columns});
}

std::optional<at::Tensor> orthonormal(const at::Tensor& z) {
  CholeskyQr qr;
  const at::Tensor q = qr.pass(qr.rough(z), 0);
  if (!qr.succeeded()) return std::nullopt;
  return q;
}

BlockLanczos::BlockLanczos(Operator apply, std::int64_t n, std::int64_t block, std::int64_t limit,
                           at::Device device)
    : apply_(std::move(apply)), block_(block), limit_(std::min(limit, n)) {
  const auto options = at::TensorOptions().dtype(at::kDouble).device(device);
  basis_ = at::empty({limit_, n}, options);
  images_ = at::empty({limit_, n}, options);
}

bool BlockLanczos::add_block() {
  if (exhausted_ || columns_ + block_ > limit_) return false;
  const std::int64_t n = basis_.size(1);
  at::Tensor next = columns_ == 0 ? scrambled(n, block_, /*seed=*/1, basis_.device())
                                  : images_.narrow(0, columns_ - block_, block_).t();
  const at::Tensor seen = basis_.narrow(0, 0, columns_);
  const auto project = [&](const at::Tensor& z) {
    return columns_ == 0 ? z : z - at::mm(seen.t(), at::mm(seen, z));
  };
  // Project, orthonormalise, project again: the second projection removes what the scaling of the
  // first orthonormalisation brought up from rounding.
  CholeskyQr qr;
  next = qr.pass(project(qr.rough(project(next))), 0);
  if (!qr.succeeded()) {
    exhausted_ = true;
    return false;
  }
  basis_.narrow(0, columns_, block_).copy_(next.t());
  images_.narrow(0, columns_, block_).copy_(apply_(next).t());
  columns_ += block_;
  return true;
}

bool BlockLanczos::extend_to(std::int64_t columns) {
  while (columns_ < columns) {
    if (!add_block()) return false;
  }
  return true;
}

RitzPairs BlockLanczos::largest(std::int64_t r) const {
  const at::Tensor basis = basis_.narrow(0, 0, columns_);
  const at::Tensor images = images_.narrow(0, 0, columns_);
  at::Tensor small = at::mm(basis, images.t());
  const auto [values, vectors] = eigh((small + small.t()).div_(2));
  const at::Tensor top = vectors.narrow(1, columns_ - r, r).flip(1).t();
  RitzPairs result;
  result.vectors = at::mm(top, basis).t();
  result.images = at::mm(top, images).t();
  result.values = values.narrow(0, columns_ - r, r).flip(0);
  const at::Tensor difference = result.images - result.vectors * result.values;
  const at::Tensor worst = at::linalg_vector_norm(difference, 2, at::IntArrayRef{0}).max();
  const at::Tensor least = result.values[r - 1].clamp_min(kEpsilon * kEpsilon);
  result.residual = (worst / least).item<double>();
  return result;
}

}  // namespace corda::linalg
