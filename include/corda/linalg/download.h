// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Copies tensors to the host while the device goes on.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace corda::linalg {

// Takes pinned memory for tensors of so many bytes each and gives it back to the pool that
// `Download` takes it from: pinning a gigabyte takes half a second, in which nothing else need
// wait. Nothing for a CPU.
void reserve_pinned(at::Device device, const std::vector<std::int64_t>& bytes);

// One copy of several tensors; they may be dropped once it was started.
class Download {
 public:
  // Starts copying into pinned memory, beside what the current stream goes on with; tensors that
  // are on the host are taken as they are, those on a device are all on one. Does not wait.
  explicit Download(std::vector<at::Tensor> tensors);

  // The tensors on the host, in their order, once they are there. From any thread.
  const std::vector<at::Tensor>& wait() const;

 private:
  std::vector<at::Tensor> host_;  // filled once `copied_` has happened
  std::shared_ptr<void> copied_;  // the event of the last copy; none where all were on the host
};

}  // namespace corda::linalg
