// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/side_work.h"

#include <c10/cuda/CUDAGuard.h>

#include <exception>

namespace corda::train {

SideWork::Joined::~Joined() {
  try {
    work_.join();
  } catch (const std::exception&) {  // the next call of CUDA says the same
  }
}

void SideWork::run(at::Device device, const std::function<void()>& work) {
  if (!device.is_cuda()) return work();
  if (!stream_) stream_ = c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index());
  before_.record(c10::cuda::getCurrentCUDAStream(device.index()));
  before_.block(*stream_);
  pending_ = true;  // first: what fails has branched off too
  const c10::cuda::CUDAStreamGuard guard(*stream_);
  work();
}

void SideWork::join() {
  if (!pending_) return;
  done_.record(*stream_);
  done_.block(c10::cuda::getCurrentCUDAStream(stream_->device_index()));
  pending_ = false;
}

}  // namespace corda::train
