// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Sums the gradients of one optimizer step over the ranks, while the backward still runs.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "corda/dist/world.h"
#include "train/gradient_pass.h"

namespace corda::train {

class GradientSums {
 public:
  using Parameters = std::vector<std::pair<std::string, at::Tensor>>;

  // Sums the gradients of `parameters`, which `pass` computes. All three must outlive it.
  GradientSums(dist::World& world, GradientPass& pass, Parameters parameters);

  // The gradients of the blocks from `block` on are complete: their sums begin. Every rank begins
  // the same sums in the same order, whatever its batches are.
  void complete_from(std::int64_t block);
  // All gradients are complete. Afterwards they hold the sums over the ranks; on a GPU the stream
  // waits for them, not the host.
  void finish();

  // What was begun in a step, for tests: elements of each sum, in their order.
  const std::vector<std::int64_t>& begun() const { return begun_; }

 private:
  void begin(std::vector<at::Tensor> tensors);

  // A stretch of the flat gradient that is summed at once.
  struct Stretch {
    std::int64_t block = 0;  // the lowest it holds
    at::Tensor gradients;
  };

  dist::World& world_;
  Parameters parameters_;
  bool is_flat_ = false;
  std::vector<Stretch> stretches_;  // from the last block to the first
  std::size_t next_ = 0;
  std::vector<std::unique_ptr<dist::Pending>> pending_;
  std::vector<std::int64_t> begun_;
};

}  // namespace corda::train
