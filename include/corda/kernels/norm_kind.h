// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which of the root-mean-square norms a model has; they differ in what multiplies and in rounding.
#pragma once

namespace corda::kernels {

// out = (x / rms(x)) (offset + w), computed in fp32. In 16 bits it matters where that is rounded.
struct NormKind {
  float offset = 0;  // 1 for Gemma, whose stored weights lie around 0
  // x / rms(x) is rounded before the product, as Llama does; else only the product is.
  bool rounds_before_weight = false;
};

}  // namespace corda::kernels
