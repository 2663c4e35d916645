// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The start of a GPU and its libraries, beside the reading of files.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "corda/core/background.h"

namespace corda::linalg {

// While it lives, another thread makes the device's context, and has cuBLAS and cuSOLVER load their
// kernels, which take about a second otherwise at the first product. Nothing for a CPU. What fails
// there fails again, and is told, where it is needed. The destructor waits for the end.
class WarmUp {
 public:
  explicit WarmUp(at::Device device);
  // Waits for the end too, and throws what failed.
  void finish();

 private:
  std::optional<core::Background> background_;
};

}  // namespace corda::linalg
