// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "linalg/gram.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "corda/linalg/accumulate.h"

namespace corda::linalg {

namespace {

// The result is computed in so many panels of columns. Only within a panel's own square are entries
// above the diagonal computed for nothing, so p panels take (1 + 1 / p) / 2 of the products, here
// 5/8. More panels would save little, and narrow products are slow.
constexpr std::int64_t kPanels = 4;
// Matrices of fewer rows are one product, since a panel would have less than 256 columns.
constexpr std::int64_t kFewestRowsInPanels = 1024;

}  // namespace

at::Tensor gram_of_columns(const at::Tensor& a) { return gram_of_rows(a.t()); }

at::Tensor gram_of_rows(const at::Tensor& a) {
  const std::int64_t n = a.size(0);
  if (n < kFewestRowsInPanels) return at::mm(a, a.t());
  at::Tensor result = at::empty({n, n}, a.options());
  const std::int64_t width = (n + kPanels - 1) / kPanels;
  for (std::int64_t begin = 0; begin < n; begin += width) {
    const std::int64_t columns = std::min(width, n - begin);
    at::Tensor panel = result.narrow(0, begin, n - begin).narrow(1, begin, columns);
    at::mm_out(panel, a.narrow(0, begin, n - begin), a.narrow(0, begin, columns).t());
  }
  mirror_lower(result);
  return result;
}

}  // namespace corda::linalg
