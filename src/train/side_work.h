// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Work that nothing waits for yet, beside the work that all else waits for.
#pragma once

#include <ATen/cuda/CUDAEvent.h>
#include <c10/core/Device.h>
#include <c10/cuda/CUDAStream.h>

#include <functional>
#include <optional>

namespace corda::train {

// The gradients of small factors do not fill a GPU: their products run on a second stream, beside
// what leads to the next gradient. Between `run` and `join` the caller overwrites nothing that the
// work reads. Recorded into a CUDA graph, the two become branches of it. For one device; on a CPU
// all is done at once.
class SideWork {
 public:
  // Joins what is left at its end: a recording whose branches are not joined cannot be ended.
  class Joined {
   public:
    explicit Joined(SideWork& work) : work_(work) {}
    Joined(const Joined&) = delete;
    Joined& operator=(const Joined&) = delete;
    ~Joined();

   private:
    SideWork& work_;
  };

  // Does `work` behind all that the current stream has queued so far.
  void run(at::Device device, const std::function<void()>& work);
  // What the current stream queues from now on waits for all that was run.
  void join();

 private:
  std::optional<c10::cuda::CUDAStream> stream_;
  at::cuda::CUDAEvent before_;
  at::cuda::CUDAEvent done_;
  bool pending_ = false;
};

}  // namespace corda::train
