// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// CUDA graphs of work that comes again: one launch in place of a thousand.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAStream.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "corda/model/batch.h"
#include "train/batch_shape.h"

namespace corda::train {

// Work on a batch is run as it is the first time that its key comes, so that libraries make their
// plans; recorded the second time, and replayed from then on. It must depend on nothing but the
// batch's tensors and memory that stays where it is, wait for nothing on the host, and return one
// tensor. All graphs are recorded on one stream and share one pool of memory, which holds about one
// batch's temporaries. For one thread, GPU and stream. Where memory runs out while recording, the
// work and its key are run as they are from then on; what else `work` throws is thrown.
class GraphCache {
 public:
  struct Key {
    BatchShape shape;
    bool adds = false;  // to gradients that are there
    auto operator<=>(const Key&) const = default;
  };
  using Work = std::function<at::Tensor(const model::Batch& batch)>;

  at::Tensor run(const Key& key, const model::Batch& batch, const Work& work);

 private:
  struct Entry {
    bool recordable = true;
    std::unique_ptr<at::cuda::CUDAGraph> graph;
    model::Batch batch;  // what the graph reads
    at::Tensor result;   // and writes
  };
  void record(Entry& entry, const model::Batch& batch, const Work& work);

  std::map<Key, Entry> entries_;
  std::size_t recorded_ = 0;
  std::optional<c10::cuda::CUDAStream> side_;  // the default stream cannot record
  at::cuda::MempoolId_t pool_{};
};

}  // namespace corda::train
