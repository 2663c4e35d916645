// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/accumulate.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "corda/core/error.h"
#include "linalg/backend.h"

namespace corda::linalg {

namespace {

// How many columns of the sum one product adds to. A panel's own square has entries above the
// diagonal, which are computed for nothing, so wide panels waste more; narrow products are slow.
// The widths are those measured to be fastest (tests/bench/README.md).
std::int64_t panel_width(std::int64_t n) {
  if (n <= 2048) return n;
  return n <= 4096 ? 1536 : 2048;
}

}  // namespace

void add_scaled_gram(at::Tensor& sum, const at::Tensor& x, const at::Tensor& scale) {
  const std::int64_t n = sum.size(0);
  const bool fits = sum.dim() == 2 && sum.size(1) == n && sum.scalar_type() == at::kFloat &&
                    x.dim() == 2 && x.size(1) == n && scale.numel() == 1 &&
                    scale.scalar_type() == at::kFloat && sum.is_contiguous();
  if (!fits) {
    throw core::ShapeError(
        core::concat("the sum must be fp32 [n, n], x [tokens, n] and the scale one "
                     "fp32 number; they are ",
                     sum.sizes(), ", ", x.sizes(), " and ", scale.sizes()));
  }
  if (x.size(0) == 0) return;
  const std::int64_t width = panel_width(n);
  const at::Tensor rows = x.is_cuda() ? x.contiguous() : x.to(at::kFloat);
  const at::Tensor one = at::ones({1}, scale.options());
  for (std::int64_t begin = 0; begin < n; begin += width) {
    const std::int64_t columns = std::min(width, n - begin);
    if (x.is_cuda()) {
      cuda::add_scaled_gram_panel(sum, rows, scale, one, begin, columns);
    } else {
      cpu::add_scaled_gram_panel(sum, rows, scale, begin, columns);
    }
  }
}

void mirror_lower(at::Tensor& matrix) {
  const std::int64_t n = matrix.size(0);
  // Off-diagonal panels are copied whole; only the blocks on the diagonal need a triangle.
  constexpr std::int64_t kBlock = 1024;
  for (std::int64_t begin = 0; begin < n; begin += kBlock) {
    const std::int64_t size = std::min(kBlock, n - begin);
    at::Tensor corner = matrix.narrow(0, begin, size).narrow(1, begin, size);
    corner.copy_(corner.tril() + corner.tril(-1).t());
    const std::int64_t below = n - begin - size;
    if (below == 0) continue;
    matrix.narrow(0, begin, size)
        .narrow(1, begin + size, below)
        .copy_(matrix.narrow(0, begin + size, below).narrow(1, begin, size).t());
  }
}

}  // namespace corda::linalg
