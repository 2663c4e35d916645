// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/kernels/window_copies.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include "kernels/tensors.h"

namespace corda::kernels {

void WindowCopies::add(const at::Tensor& from, const at::Tensor& to, double scale) {
  check_rows("window_copies", "the target", to, from.size(0), from.size(1),
             copies_.empty() ? to : copies_.front().to);
  check_dense("window_copies", "the source", from, to.sizes(), at::kFloat, to);
  copies_.push_back({from, to, scale});
  plan_ = at::Tensor();
}

void WindowCopies::run() {
  if (copies_.empty()) return;
  const at::Tensor& like = copies_.front().to;
  if (!like.is_cuda()) {
    for (const Copy& copy : copies_) copy.to.copy_(copy.from * copy.scale);
    return;
  }
  const c10::cuda::CUDAGuard guard(like.device());
  if (!plan_.defined()) make_plan();
  cuda::copy_windows(
      type_of(like),
      static_cast<const cuda::Window*>(static_cast<const void*>(plan_.const_data_ptr())),
      static_cast<std::int64_t>(copies_.size()), blocks_, stream_of(like));
}

void WindowCopies::make_plan() {
  std::vector<cuda::Window> windows;
  blocks_ = 0;
  for (const auto& [from, to, scale] : copies_) {
    windows.push_back({.from = from.const_data_ptr<float>(),
                       .to = to.mutable_data_ptr(),
                       .n = from.size(1),
                       .stride = to.stride(0),
                       .elements = from.numel(),
                       .first_block = blocks_,
                       .scale = static_cast<float>(scale)});
    blocks_ += (from.numel() + cuda::kWindowBlockElements - 1) / cuda::kWindowBlockElements;
  }
  const auto bytes = static_cast<std::int64_t>(windows.size() * sizeof(cuda::Window));
  plan_ = at::from_blob(windows.data(), {bytes}, at::kByte).to(copies_.front().to.device());
}

}  // namespace corda::kernels
