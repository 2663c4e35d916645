// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The input of every block, kept from the forward to the backward on the device or in pinned host
// memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

namespace corda::train {

// Inputs 0 to count - 1, each [tokens, hidden]. In the forward, in rising order: `write(i)`, fill
// it, `written(i)`; what was written last may be read until two more have been asked for. In the
// backward, in falling order: `read(i)`. Batches follow each other without more ado.
class BlockInputs {
 public:
  BlockInputs() = default;
  BlockInputs(const BlockInputs&) = delete;
  BlockInputs& operator=(const BlockInputs&) = delete;
  virtual ~BlockInputs() = default;
  virtual at::Tensor write(std::int64_t i, std::int64_t tokens) = 0;
  virtual void written(std::int64_t i, std::int64_t tokens) = 0;
  virtual at::Tensor read(std::int64_t i, std::int64_t tokens) = 0;
};

// `tokens` is the size of the largest batch expected.
std::unique_ptr<BlockInputs> make_device_inputs(std::int64_t count, std::int64_t hidden,
                                                at::TensorOptions options, std::int64_t tokens);

// Three buffers on the GPU; copies to and from pinned memory run on a stream of their own while the
// blocks compute. A copy takes tokens x hidden elements over the bus, far less time than a block.
std::unique_ptr<BlockInputs> make_host_inputs(std::int64_t count, std::int64_t hidden,
                                              at::TensorOptions options, std::int64_t tokens);

}  // namespace corda::train
