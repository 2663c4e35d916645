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

Download::Download(std::vector<at::Tensor> tensors) : host_(std::move(tensors)) {
  const auto on_device = [](const at::Tensor& tensor) { return tensor.is_cuda(); };
  const auto first = std::find_if(host_.begin(), host_.end(), on_device);
  if (first == host_.end()) return;
  const c10::DeviceIndex device = first->device().index();
  const auto stream = c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device);
  const auto event = std::make_shared<at::cuda::CUDAEvent>();
  event->record(c10::cuda::getCurrentCUDAStream(device));
  event->block(stream);
  const c10::cuda::CUDAStreamGuard guard(stream);
  for (auto& tensor : host_) {
    if (!tensor.is_cuda()) continue;
    tensor.record_stream(stream);
    const auto pinned = tensor.options().device(at::kCPU).pinned_memory(true);
    tensor = at::empty(tensor.sizes(), pinned).copy_(tensor, /*non_blocking=*/true);
  }
  event->record(stream);
  copied_ = event;
}

const std::vector<at::Tensor>& Download::wait() const {
  if (copied_) static_cast<at::cuda::CUDAEvent*>(copied_.get())->synchronize();
  return host_;
}

}  // namespace corda::linalg
