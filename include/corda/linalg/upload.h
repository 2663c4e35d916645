// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Copies host data to a device in the background, through pinned memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace corda::linalg {

// A contiguous tensor that is made row by row on the host, for example out of a mapped file.
struct HostRows {
  std::vector<std::int64_t> shape;  // rows first
  at::ScalarType type = at::kFloat;
  // Writes the rows [begin, end) to `to`; called from other threads, several at a time.
  std::function<void(std::int64_t begin, std::int64_t end, std::byte* to)> fill;
};

// The rows of a contiguous CPU tensor, which must outlive their use.
HostRows rows_of(const at::Tensor& tensor);

// One upload at a time, or several in flight; each has a thread of its own. On the CPU nothing runs
// in the background: the tensors are made when they are asked for.
class Uploader {
 public:
  explicit Uploader(at::Device device);
  Uploader(const Uploader&) = delete;
  Uploader& operator=(const Uploader&) = delete;
  ~Uploader();

  class Upload {
   public:
    // Returns the tensors on the device, in the order of the request; the current stream waits for
    // the copies. To be called once. Throws what reading threw.
    std::vector<at::Tensor> wait();

   private:
    friend class Uploader;
    struct Pending;
    // Its destructor waits for the copies where nobody has: an upload may be dropped at any time.
    std::shared_ptr<Pending> pending_;
  };

  // Device memory is taken at once, from the current stream's pool.
  Upload start(std::vector<HostRows> rows);

 private:
  struct Staging;
  at::Device device_;
  std::shared_ptr<Staging> staging_;
};

}  // namespace corda::linalg
