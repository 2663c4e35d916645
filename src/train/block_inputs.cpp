// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/block_inputs.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <array>
#include <vector>

#include "train/row_buffer.h"

namespace corda::train {

namespace {

class DeviceInputs final : public BlockInputs {
 public:
  DeviceInputs(std::int64_t count, std::int64_t hidden, at::TensorOptions options,
               std::int64_t tokens) {
    for (std::int64_t i = 0; i < count; ++i) buffers_.emplace_back(hidden, options, tokens);
  }
  at::Tensor write(std::int64_t i, std::int64_t tokens) override { return read(i, tokens); }
  void written(std::int64_t /*i*/, std::int64_t /*tokens*/) override {}
  at::Tensor read(std::int64_t i, std::int64_t tokens) override {
    return buffers_[static_cast<std::size_t>(i)].rows(tokens);
  }

 private:
  std::vector<RowBuffer> buffers_;
};

class HostInputs final : public BlockInputs {
 public:
  HostInputs(std::int64_t count, std::int64_t hidden, at::TensorOptions options,
             std::int64_t tokens)
      : device_(options.device()),
        copies_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device_.index())) {
    for (Slot& slot : slots_) slot.rows = RowBuffer(hidden, options, tokens);
    const at::TensorOptions pinned = options.device(at::kCPU).pinned_memory(true);
    for (std::int64_t i = 0; i < count; ++i) host_.emplace_back(hidden, pinned, tokens);
  }

  at::Tensor write(std::int64_t i, std::int64_t tokens) override {
    Slot& slot = slot_of(i);
    slot.copied.block(compute());  // the copy of what stands there may still be under way
    slot.holds = i;
    return slot.rows.rows(tokens);
  }

  void written(std::int64_t i, std::int64_t tokens) override {
    Slot& slot = slot_of(i);
    const at::Tensor from = slot.rows.rows(tokens);
    copy(slot, host_[static_cast<std::size_t>(i)].rows(tokens), from, from);
  }

  at::Tensor read(std::int64_t i, std::int64_t tokens) override {
    fetch(i, tokens);
    Slot& slot = slot_of(i);
    slot.copied.block(compute());
    if (i > 0) fetch(i - 1, tokens);  // while block i computes
    return slot.rows.rows(tokens);
  }

 private:
  struct Slot {
    RowBuffer rows;
    std::int64_t holds = -1;
    at::cuda::CUDAEvent copied;  // the last copy from or to the slot
  };

  Slot& slot_of(std::int64_t i) { return slots_[static_cast<std::size_t>(i) % slots_.size()]; }
  c10::cuda::CUDAStream compute() const { return c10::cuda::getCurrentCUDAStream(device_.index()); }

  void fetch(std::int64_t i, std::int64_t tokens) {
    Slot& slot = slot_of(i);
    if (slot.holds == i) return;
    slot.holds = i;
    const at::Tensor to = slot.rows.rows(tokens);
    copy(slot, to, host_[static_cast<std::size_t>(i)].rows(tokens), to);
  }

  // Copies on the stream of copies, after everything that the compute stream was given so far.
  void copy(Slot& slot, const at::Tensor& to, const at::Tensor& from, const at::Tensor& on_gpu) {
    at::cuda::CUDAEvent so_far;
    so_far.record(compute());
    so_far.block(copies_);
    const c10::cuda::CUDAStreamGuard guard(copies_);
    to.copy_(from, /*non_blocking=*/true);
    on_gpu.record_stream(copies_);
    slot.copied.record(copies_);
  }

  at::Device device_;
  c10::cuda::CUDAStream copies_;
  std::array<Slot, 3> slots_;
  std::vector<RowBuffer> host_;
};

}  // namespace

std::unique_ptr<BlockInputs> make_device_inputs(std::int64_t count, std::int64_t hidden,
                                                at::TensorOptions options, std::int64_t tokens) {
  return std::make_unique<DeviceInputs>(count, hidden, options, tokens);
}

std::unique_ptr<BlockInputs> make_host_inputs(std::int64_t count, std::int64_t hidden,
                                              at::TensorOptions options, std::int64_t tokens) {
  return std::make_unique<HostInputs>(count, hidden, options, tokens);
}

}  // namespace corda::train
