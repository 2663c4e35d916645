// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "linalg/numbers.h"

#include <ATen/ATen.h>

#include <numbers>

namespace corda::linalg {

at::Tensor scrambled(std::int64_t rows, std::int64_t columns, std::int64_t seed,
                     at::Device device) {
  // Integer arithmetic (splitmix64's constants, wrapping) makes the numbers equal everywhere.
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

at::Tensor normal_numbers(std::int64_t rows, std::int64_t columns, std::int64_t seed,
                          at::Device device) {
  const at::Tensor uniform = scrambled(rows, 2 * columns, seed, device);
  // scrambled() reaches -1 but not 1, so the logarithm's argument reaches 1 but not 0.
  const at::Tensor radius =
      at::rsub(uniform.narrow(1, 0, columns), 1).div_(2).log_().mul_(-2).sqrt_();
  return radius.mul_(uniform.narrow(1, columns, columns).mul(std::numbers::pi).cos_());
}

}  // namespace corda::linalg
