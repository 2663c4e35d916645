// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Tensors of one thread for another that works on a stream of its own, so that it waits for them
// alone and not for what the first one queues behind them.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Stream.h>

#include <memory>
#include <optional>
#include <vector>

namespace corda::linalg {

// A stream beside the current one, to be made a thread's own by c10::OptionalStreamGuard; nothing
// for a CPU.
std::optional<c10::Stream> side_stream(at::Device device);

// Tensors that are all on one device.
class HandOver {
 public:
  // They are made by what the current stream has queued. Does not wait.
  explicit HandOver(std::vector<at::Tensor> tensors);

  // The tensors, once: what the current stream queues from now on sees them made, and their memory
  // is nobody else's before that is done.
  std::vector<at::Tensor> take();

 private:
  std::vector<at::Tensor> tensors_;
  std::shared_ptr<void> made_;  // the event; none on a CPU
};

}  // namespace corda::linalg
