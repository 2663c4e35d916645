// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The activations between two blocks, of every batch, on the device or in pinned host memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "corda/covariance/stream.h"

namespace corda::covariance {

class HiddenStates {
 public:
  // `on_host` counts only where the device is a GPU: on a CPU there is one memory.
  HiddenStates(at::Device device, bool on_host);
  ~HiddenStates();
  HiddenStates(const HiddenStates&) = delete;
  HiddenStates& operator=(const HiddenStates&) = delete;

  // Returns batch `i`, [tokens, hidden] on the device, and begins to copy the next one.
  at::Tensor take(std::size_t i);
  // Appends or replaces batch `i`.
  void put(std::size_t i, const at::Tensor& hidden);

 private:
  struct Copies;
  void prefetch(std::size_t i);

  at::Device device_;
  std::vector<at::Tensor> batches_;
  std::unique_ptr<Copies> copies_;  // none where they stay on the device
};

// Whether `bytes` of activations should live on the host.
bool hidden_states_on_host(HiddenStatesPlace place, std::int64_t bytes, at::Device device);

}  // namespace corda::covariance
