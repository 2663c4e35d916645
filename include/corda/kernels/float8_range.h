// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#pragma once

namespace corda::kernels {

// The largest value of float8 e4m3.
constexpr float kLargestFloat8 = 448;
// Below it 448 / x is no fp32 number, so what has no larger value than x counts as zeros.
constexpr float kSmallestFloat8Range = 2e-36F;

}  // namespace corda::kernels
