// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/side_work.h"

#include <c10/cuda/CUDAGuard.h>

namespace corda::train {

void SideWork::run(at::Device device, const std::function<void()>& work) {
  if (!device.is_cuda()) return work();
  if (!stream_) stream_ = c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index());
  before_.record(c10::cuda::getCurrentCUDAStream(device.index()));
  before_.block(*stream_);
  const c10::cuda::CUDAStreamGuard guard(*stream_);
  work();
  pending_ = true;
}

void SideWork::join() {
  if (!pending_) return;
  done_.record(*stream_);
  done_.block(c10::cuda::getCurrentCUDAStream(stream_->device_index()));
  pending_ = false;
}

}  // namespace corda::train
