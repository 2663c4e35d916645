// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The start of a GPU and its libraries, beside the reading of files.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>

#include "corda/core/background.h"

namespace corda::linalg {

// Nothing more than is needed: while one kernel is loaded, other threads wait for theirs.
enum class WarmUpOf {
  kContext,  // of the device alone
  kProducts  // of the types that models compute in, and attention
};

// Loads LibTorch's decompositions for GPUs, once. LibTorch does so itself at the first of them, but
// fails where two threads come to their first ones at the same time. So where a thread beside the
// main one decomposes, as in `corda decompose`, both call this before. The loading is the
// process's, whatever the device. Nothing for a CPU.
void load_decompositions(at::Device device);

// While it lives, another thread makes the device's context and has cuBLAS and cuDNN load their
// kernels, which takes about a second otherwise at the first call. Nothing for a CPU. What
// fails is dropped, and what was to follow it: it fails again, and is told, where it is needed.
class WarmUp {
 public:
  WarmUp(at::Device device, WarmUpOf what);
  // Waits for the end.
  ~WarmUp() = default;

  // Does more on that thread: something that the caller can do without.
  void then(WarmUpOf what);
  void then(std::function<void()> more);
  // Waits for the end too, and throws what failed.
  void finish();

 private:
  at::Device device_;
  std::optional<core::Background> background_;
};

}  // namespace corda::linalg
