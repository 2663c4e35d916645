// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <ATen/ATen.h>

#include "linalg/backend.h"

namespace corda::linalg::cpu {

void add_scaled_gram_panel(at::Tensor& sum, const at::Tensor& x, const at::Tensor& scale,
                           std::int64_t begin, std::int64_t columns) {
  const std::int64_t rows = sum.size(0) - begin;
  sum.narrow(0, begin, rows)
      .narrow(1, begin, columns)
      .addmm_(x.narrow(1, begin, rows).t(), x.narrow(1, begin, columns), 1, scale.item<double>());
}

}  // namespace corda::linalg::cpu
