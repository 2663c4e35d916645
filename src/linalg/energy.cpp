// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/energy.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "corda/core/error.h"

namespace corda::linalg {

namespace {

constexpr std::int64_t kPanel = 1024;  // rows of X, columns of C: 90 MB in fp64 at 11 008

void check(const at::Tensor& x, const at::Tensor& covariance) {
  if (x.dim() == 2 && covariance.dim() == 2 && covariance.size(0) == covariance.size(1) &&
      covariance.size(0) == x.size(1))
    return;
  throw core::ShapeError(core::concat("a matrix ", x.sizes(), " needs a covariance of its ",
                                      x.dim() == 2 ? x.size(1) : 0, " columns; it is ",
                                      covariance.sizes()));
}

// Calls `use(begin, length, x C[:, begin:begin + length])` for every panel of columns.
template <typename Use>
void for_each_panel(const at::Tensor& wide, const at::Tensor& covariance, const Use& use) {
  const std::int64_t n = covariance.size(1);
  for (std::int64_t begin = 0; begin < n; begin += kPanel) {
    const std::int64_t length = std::min(kPanel, n - begin);
    // Rows are taken for columns: C is symmetric, and a row lies in memory as a whole.
    const at::Tensor rows = covariance.narrow(0, begin, length).to(wide.device()).to(at::kDouble);
    use(begin, length, at::mm(wide, rows.t()));
  }
}

}  // namespace

at::Tensor sandwich(const at::Tensor& x, const at::Tensor& covariance) {
  check(x, covariance);
  const at::NoGradGuard no_grad;
  const at::Tensor wide = x.to(at::kDouble);
  at::Tensor result = at::zeros({x.size(0), x.size(0)}, wide.options());
  for_each_panel(wide, covariance,
                 [&](std::int64_t begin, std::int64_t length, const at::Tensor& product) {
                   result.addmm_(product, wide.narrow(1, begin, length).t());
                 });
  return result;
}

double energy(const at::Tensor& x, const at::Tensor& covariance) {
  check(x, covariance);
  const at::NoGradGuard no_grad;
  at::Tensor sum = at::zeros({}, x.options().dtype(at::kDouble));
  for (std::int64_t row = 0; row < x.size(0); row += kPanel) {
    const at::Tensor wide = x.narrow(0, row, std::min(kPanel, x.size(0) - row)).to(at::kDouble);
    for_each_panel(wide, covariance,
                   [&](std::int64_t begin, std::int64_t length, const at::Tensor& product) {
                     sum += (product * wide.narrow(1, begin, length)).sum();
                   });
  }
  return sum.item<double>();
}

}  // namespace corda::linalg
