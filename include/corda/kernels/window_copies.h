// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Many small copies into windows of larger matrices, as one launch.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace corda::kernels {

// A list of copies `to = rounded(scale * from)` that is set up once and run often: every `from`
// [rows, n] is fp32 and contiguous, every `to` [rows, n] has contiguous rows and one dtype, bf16 or
// fp32. The tensors are kept alive and must stay where they are.
class WindowCopies {
 public:
  // Throws InternalError where the two do not fit each other or the copies added before.
  void add(const at::Tensor& from, const at::Tensor& to, double scale);
  // Runs all of them. One kernel on a GPU, which does not synchronise once the first call is over.
  void run();

 private:
  struct Copy {
    at::Tensor from;
    at::Tensor to;
    double scale;
  };
  void make_plan();

  std::vector<Copy> copies_;
  at::Tensor plan_;  // the list as the kernel reads it, on the GPU
  std::int64_t blocks_ = 0;
};

}  // namespace corda::kernels
