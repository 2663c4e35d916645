// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/download.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <utility>

namespace corda::linalg {

void reserve_pinned(at::Device device, const std::vector<std::int64_t>& bytes) {
  if (!device.is_cuda()) return;
  const c10::cuda::CUDAGuard guard(device);
  std::vector<at::Tensor> taken;
  for (const std::int64_t size : bytes)
    taken.push_back(at::empty({size}, at::TensorOptions().dtype(at::kByte).pinned_memory(true)));
}

namespace {

at::cuda::CUDAEvent& event(const std::shared_ptr<void>& pointer) {
  return *static_cast<at::cuda::CUDAEvent*>(pointer.get());
}

}  // namespace

Download::Download(std::vector<at::Tensor> tensors, Begins begins) : tensors_(std::move(tensors)) {
  const auto on_device = [](const at::Tensor& tensor) { return tensor.is_cuda(); };
  const auto first = std::find_if(tensors_.begin(), tensors_.end(), on_device);
  if (first == tensors_.end()) return;
  made_ = std::make_shared<at::cuda::CUDAEvent>();
  event(made_).record(c10::cuda::getCurrentCUDAStream(first->device().index()));
  if (begins == Begins::kNow) begin();
}

void Download::begin() {
  const auto stream =
      c10::cuda::getStreamFromPool(/*isHighPriority=*/false, event(made_).device()->index());
  event(made_).block(stream);
  const c10::cuda::CUDAStreamGuard guard(stream);
  for (auto& tensor : tensors_) {
    if (!tensor.is_cuda()) continue;
    tensor.record_stream(stream);
    const auto pinned = tensor.options().device(at::kCPU).pinned_memory(true);
    tensor = at::empty(tensor.sizes(), pinned).copy_(tensor, /*non_blocking=*/true);
  }
  copied_ = std::make_shared<at::cuda::CUDAEvent>();
  event(copied_).record(stream);
}

const std::vector<at::Tensor>& Download::wait() {
  if (made_ && !copied_) begin();
  if (copied_) event(copied_).synchronize();
  return tensors_;
}

}  // namespace corda::linalg
