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

// One copy of several tensors into pinned memory. Their owner may drop them at once.
class Download {
 public:
  enum class Begins {
    kNow,        // so that the tensors may be overwritten behind it
    kWhenWaited  // the pinned memory, which may have to be got, is then the waiting thread's affair
  };
  // Copies what the current stream has made by now, beside what it goes on with; until a copy that
  // begins when it is waited for has ended nobody overwrites the tensors. Those that are on the
  // host are taken as they are, those on a device are all on one. Does not wait.
  explicit Download(std::vector<at::Tensor> tensors, Begins begins = Begins::kNow);

  // The tensors on the host, in their order, once they are there. From any thread; of a copy that
  // begins with it from one.
  const std::vector<at::Tensor>& wait();

 private:
  void begin();

  std::vector<at::Tensor> tensors_;  // on the host once `copied_` has happened
  std::shared_ptr<void> made_;       // events; none where all were on the host
  std::shared_ptr<void> copied_;
};

}  // namespace corda::linalg
