// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/side_work.h"

#include <ATen/cuda/Sleep.h>
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
  if (late_ > 0) at::cuda::sleep(late_);
  work();
}

void SideWork::join() {
  if (!pending_) return;
  done_.record(*stream_);
  done_.block(c10::cuda::getCurrentCUDAStream(stream_->device_index()));
  pending_ = false;
  has_mark_ = false;
}

void SideWork::mark() {
  if (!pending_) return;
  marked_.record(*stream_);
  has_mark_ = true;
}

void SideWork::join_marked() {
  if (!has_mark_) return;
  marked_.block(c10::cuda::getCurrentCUDAStream(stream_->device_index()));
  has_mark_ = false;
}

}  // namespace corda::train
