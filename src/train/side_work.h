// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Work that nothing waits for yet, beside the work that all else waits for.
#pragma once

#include <ATen/cuda/CUDAEvent.h>
#include <c10/core/Device.h>
#include <c10/cuda/CUDAStream.h>

#include <atomic>
#include <cstdint>
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
  // The same for what was run before the last `mark` alone; nothing where all was joined since.
  void mark();
  void join_marked();

  // For tests: while it lives, all work of any side begins so many cycles of the GPU late, so that
  // what overwrites its inputs without a join is sure to do so first.
  class Late {
   public:
    explicit Late(std::int64_t cycles) { late_ = cycles; }
    Late(const Late&) = delete;
    Late& operator=(const Late&) = delete;
    ~Late() { late_ = 0; }
  };

 private:
  std::optional<c10::cuda::CUDAStream> stream_;
  at::cuda::CUDAEvent before_;
  at::cuda::CUDAEvent done_;
  at::cuda::CUDAEvent marked_;
  bool pending_ = false;
  bool has_mark_ = false;
  static inline std::atomic<std::int64_t> late_ = 0;
};

}  // namespace corda::train
