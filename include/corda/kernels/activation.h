// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What the gate of a feed-forward layer goes through.
#pragma once

namespace corda::kernels {

enum class Activation {
  kSilu,     // x / (1 + exp(-x))
  kGelu,     // x Phi(x), Phi being the normal distribution's function (Hendrycks and Gimpel 2016)
  kGeluTanh  // its approximation by tanh, equation 2 of the same
};

}  // namespace corda::kernels
