// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/hand_over.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAStream.h>

#include <utility>

namespace corda::linalg {

std::optional<c10::Stream> side_stream(at::Device device) {
  if (!device.is_cuda()) return std::nullopt;
  return c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index()).unwrap();
}

HandOver::HandOver(std::vector<at::Tensor> tensors) : tensors_(std::move(tensors)) {
  if (tensors_.empty() || !tensors_.front().is_cuda()) return;
  const auto event = std::make_shared<at::cuda::CUDAEvent>();
  event->record(c10::cuda::getCurrentCUDAStream(tensors_.front().device().index()));
  made_ = event;
}

std::vector<at::Tensor> HandOver::take() {
  if (!made_) return std::move(tensors_);
  const auto stream = c10::cuda::getCurrentCUDAStream(tensors_.front().device().index());
  static_cast<at::cuda::CUDAEvent*>(made_.get())->block(stream);
  for (const at::Tensor& tensor : tensors_) tensor.record_stream(stream);
  return std::move(tensors_);
}

}  // namespace corda::linalg
