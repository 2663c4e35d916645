// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What the ranks tell each other in every step, in one small sum beside that of the gradients.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "corda/dist/world.h"

namespace corda::train {

struct Agreed {
  double loss_sum = 0;
  bool stop = false;                   // some rank was asked to stop
  bool due = false;                    // rank 0 wants to write a checkpoint
  std::int64_t peak_memory_bytes = 0;  // the highest of any rank
};

class Agreement {
 public:
  Agreement(dist::World& world, at::Device device) : world_(world), device_(device) {}

  // Gives this rank's part; `loss_sum` is an fp64 scalar on the device. Does not wait for the GPU.
  void begin(const at::Tensor& loss_sum, bool stop, bool due, std::int64_t peak_memory_bytes);
  // Returns what came of all ranks' parts. Waits for the GPU.
  Agreed read();

 private:
  dist::World& world_;
  at::Device device_;
  at::Tensor values_;  // loss, stop, due, and the peak of every rank
};

}  // namespace corda::train
