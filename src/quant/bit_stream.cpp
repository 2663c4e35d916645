// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "quant/bit_stream.h"

#include <ATen/ATen.h>

namespace corda::quant {

at::Tensor unpack_stream(const at::Tensor& words, std::int64_t bits, std::int64_t count) {
  const std::int64_t mask = (std::int64_t{1} << bits) - 1;
  if (32 % bits == 0) {
    const at::Tensor shifts = at::arange(0, 32, bits, at::kInt).view({1, -1, 1});
    const at::Tensor codes = words.unsqueeze(1).bitwise_right_shift(shifts).bitwise_and_(mask);
    return codes.flatten(0, 1).narrow(0, 0, count);
  }
  const at::Tensor begin = at::arange(count, at::kLong) * bits;
  const at::Tensor word = begin.floor_divide(32);
  const at::Tensor wide = words.to(at::kLong).bitwise_and_(std::int64_t{0xFFFFFFFF});
  // A code that ends in the last word has no next one to look at.
  const at::Tensor next = (word + 1).clamp_max(wide.size(0) - 1);
  const at::Tensor both =
      wide.index_select(0, word).bitwise_or_(wide.index_select(0, next).bitwise_left_shift_(32));
  return both.bitwise_right_shift_((begin - word * 32).unsqueeze(1))
      .bitwise_and_(mask)
      .to(at::kInt);
}

}  // namespace corda::quant
