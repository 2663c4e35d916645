// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// CUDA graphs of work that comes again: one launch in place of a thousand.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAStream.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "corda/model/batch.h"
#include "train/batch_shape.h"

namespace corda::train {

// Work on a batch is run as it is the first time that its key comes, so that libraries make their
// plans, and replayed once it is recorded. The first key to come again is recorded then. Recording
// takes the host longer than launching, so the others are recorded while the GPU does what is
// replayed and the host would wait for it, and run as they are until that is done; one for which
// nothing is replayed is recorded at its third time.
//
// Work must depend on nothing but its arguments and memory that stays where it is, wait for nothing
// on the host, and return one tensor. All graphs begin on one stream, from which work may branch
// off, and share one pool of memory, which holds about one batch's temporaries. For one thread, GPU
// and stream. Where memory runs out while recording, the work and its key are run as they are from
// then on; what else `work` throws is thrown, but for what is recorded beside a replay, whose batch
// has nothing to do with it: that key is run as it is from then on.
//
// Work may tell, while it is run, that parts of it are done. What a graph does is known to the host
// only when all of it has ended, so each such place is an event in the graph: as soon as it is
// launched, everything is told on a stream that waits for these events one by one. Whoever is told
// gives his own work to the current stream.
class GraphCache {
 public:
  struct Key {
    BatchShape shape;
    bool adds = false;   // to gradients that are there
    bool tells = false;  // somebody of its parts
    auto operator<=>(const Key&) const = default;
  };
  using Done = std::function<void(std::int64_t part)>;
  using Work =
      std::function<at::Tensor(const Key& key, const model::Batch& batch, const Done& done)>;

  // `done` is empty where the key tells nobody.
  at::Tensor run(const Key& key, const model::Batch& batch, const Work& work, const Done& done);

 private:
  struct Entry {
    bool recordable = true;
    bool waits = false;  // to be recorded while something is replayed
    bool ready = false;  // to be launched
    std::unique_ptr<at::cuda::CUDAGraph> graph;
    model::Batch batch;  // what the graph reads
    at::Tensor result;   // and writes
    // The parts that it does, each with the event behind it.
    std::vector<std::pair<std::int64_t, at::cuda::CUDAEvent>> parts;
  };
  // Whether the entry has a graph that can be launched, recorded now if its time has come.
  bool prepare(const Key& key, Entry& entry, const model::Batch& batch, const Work& work);
  void record(const Key& key, Entry& entry, const model::Batch& batch, const Work& work);
  void make_ready(Entry& entry);
  void forget(Entry& entry);  // what was recorded
  void record_beside(const Work& work);
  void tell(Entry& entry, const Done& done);

  std::map<Key, Entry> entries_;
  std::size_t recorded_ = 0;
  std::deque<Key> waiting_;                       // of the entries that wait
  std::optional<c10::cuda::CUDAStream> side_;     // the default stream cannot record
  std::optional<c10::cuda::CUDAStream> telling_;  // waits for parts of graphs
  at::cuda::MempoolId_t pool_{};
};

}  // namespace corda::train
