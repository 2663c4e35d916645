// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "covariance/hidden_states.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <optional>
#include <string>
#include <utility>

#include "corda/linalg/device.h"

namespace corda::covariance {

// Copies of both directions share one stream, so that a batch is never read back before it was
// written.
struct HiddenStates::Copies {
  explicit Copies(at::Device device)
      : stream(c10::cuda::getStreamFromPool(false, device.index())) {}

  c10::cuda::CUDAStream stream;
  std::optional<std::size_t> ahead_index;
  at::Tensor ahead;
  at::cuda::CUDAEvent ahead_done;
};

HiddenStates::HiddenStates(at::Device device, bool on_host)
    : device_(device),
      copies_(on_host && device.is_cuda() ? std::make_unique<Copies>(device) : nullptr) {}

HiddenStates::~HiddenStates() {
  // Pinned memory must not be freed under a copy.
  if (copies_) copies_->stream.synchronize();
}

void HiddenStates::prefetch(std::size_t i) {
  if (i >= batches_.size() || !batches_[i].defined()) return;
  const auto current = c10::cuda::getCurrentCUDAStream(device_.index());
  // A batch that nobody took must not be given to others while it is copied.
  if (copies_->ahead.defined()) copies_->ahead.record_stream(copies_->stream);
  copies_->ahead =
      at::empty(batches_[i].sizes(), batches_[i].options().device(device_).pinned_memory(false));
  at::cuda::CUDAEvent allocated;
  allocated.record(current);
  allocated.block(copies_->stream);
  const c10::cuda::CUDAStreamGuard guard(copies_->stream);
  copies_->ahead.copy_(batches_[i], /*non_blocking=*/true);
  copies_->ahead_done.record(copies_->stream);
  copies_->ahead_index = i;
}

at::Tensor HiddenStates::take(std::size_t i) {
  if (!copies_) return batches_[i];
  if (copies_->ahead_index != i) prefetch(i);
  copies_->ahead_done.block(c10::cuda::getCurrentCUDAStream(device_.index()));
  at::Tensor result = std::exchange(copies_->ahead, {});
  copies_->ahead_index.reset();
  prefetch(i + 1);
  return result;
}

void HiddenStates::put(std::size_t i, const at::Tensor& hidden) {
  if (batches_.size() <= i) batches_.resize(i + 1);
  if (!copies_) {
    batches_[i] = hidden;
    return;
  }
  if (!batches_[i].defined())
    batches_[i] = at::empty(hidden.sizes(), hidden.options().device(at::kCPU).pinned_memory(true));
  at::cuda::CUDAEvent computed;
  computed.record(c10::cuda::getCurrentCUDAStream(device_.index()));
  computed.block(copies_->stream);
  const c10::cuda::CUDAStreamGuard guard(copies_->stream);
  batches_[i].copy_(hidden, /*non_blocking=*/true);
  c10::cuda::CUDACachingAllocator::recordStream(hidden.storage().data_ptr(), copies_->stream);
}

bool hidden_states_on_host(HiddenStatesPlace place, std::int64_t bytes, at::Device device) {
  if (!device.is_cuda() || place == HiddenStatesPlace::kDevice) return false;
  if (place == HiddenStatesPlace::kHost) return true;
  return bytes > linalg::free_memory_bytes(device) / 4;
}

}  // namespace corda::covariance
