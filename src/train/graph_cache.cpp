// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/graph_cache.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>

#include <exception>
#include <utility>

#include "corda/linalg/out_of_memory.h"

namespace corda::train {

namespace {

// No more graphs than this are recorded: each holds a thousand launches, twice in host memory, and
// the pool grows by what it has no room for yet.
constexpr std::size_t kMostGraphs = 32;

void copy_tensors(model::Batch& to, const model::Batch& from) {
  for (at::Tensor model::Batch::*tensor :
       {&model::Batch::ids, &model::Batch::positions, &model::Batch::cu_seqlens,
        &model::Batch::target_rows, &model::Batch::target_ids})
    (to.*tensor).copy_(from.*tensor, /*non_blocking=*/true);
}

}  // namespace

void GraphCache::record(const Key& key, Entry& entry, const model::Batch& batch, const Work& work) {
  const c10::DeviceIndex device = batch.ids.device().index();
  if (!side_) {
    side_ = c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device);
    pool_ = at::cuda::graph_pool_handle();
  }
  at::cuda::CUDAEvent before;
  before.record(c10::cuda::getCurrentCUDAStream(device));
  before.block(*side_);
  auto graph = std::make_unique<at::cuda::CUDAGraph>(/*keep_graph=*/true);
  const c10::cuda::CUDAStreamGuard guard(*side_);
  // Other streams can wait for an external event; each launch records it anew.
  const Done mark = [&](std::int64_t part) {
    constexpr unsigned kFlags = cudaEventDisableTiming | cudaEventExternal;
    entry.parts.emplace_back(part, kFlags).second.record();
  };
  bool recording = false;
  try {
    graph->capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
    recording = true;
    entry.result = work(key, batch, key.tells ? mark : Done());
    recording = false;
    graph->capture_end();
  } catch (...) {
    entry.result = at::Tensor();
    entry.parts.clear();
    try {
      if (recording) graph->capture_end();
    } catch (const std::exception&) {  // what `work` threw says more
    }
    throw;
  }
  entry.batch = batch;
  entry.graph = std::move(graph);
  ++recorded_;
}

void GraphCache::make_ready(Entry& entry) {
  entry.graph->instantiate();
  entry.ready = true;
}

void GraphCache::forget(Entry& entry) {
  if (entry.graph) --recorded_;
  entry.graph.reset();
  entry.result = at::Tensor();
  entry.parts.clear();
}

bool GraphCache::prepare(const Key& key, Entry& entry, const model::Batch& batch,
                         const Work& work) {
  if (entry.ready) return true;
  if (!entry.recordable || (!entry.graph && recorded_ >= kMostGraphs)) return false;
  if (recorded_ > 0 && !entry.waits) {
    entry.waits = true;
    entry.batch = batch;
    waiting_.push_back(key);
    return false;
  }
  try {
    if (!entry.graph) {
      // While recording, the allocator cannot give back what it keeps for later.
      c10::cuda::CUDACachingAllocator::emptyCache();
      record(key, entry, batch, work);
    }
    make_ready(entry);
    return true;
  } catch (const std::exception& error) {
    forget(entry);
    entry.recordable = false;
    if (!linalg::out_of_memory(error)) throw;
    return false;
  }
}

// One part of the work on the first entry that waits. Where that wants for memory, it is left to
// the next time that the key comes, which first has the allocator give back what it keeps.
void GraphCache::record_beside(const Work& work) {
  while (!waiting_.empty() && entries_.at(waiting_.front()).ready) waiting_.pop_front();
  if (waiting_.empty()) return;
  const Key key = waiting_.front();
  Entry& entry = entries_.at(key);
  if (!entry.recordable || (!entry.graph && recorded_ >= kMostGraphs)) {
    waiting_.pop_front();
    return;
  }
  try {
    if (entry.graph)
      make_ready(entry);
    else
      record(key, entry, entry.batch, work);
  } catch (const std::exception& error) {
    waiting_.pop_front();
    forget(entry);
    entry.recordable = linalg::out_of_memory(error).has_value();
  }
}

void GraphCache::tell(Entry& entry, const Done& done) {
  if (!done) return;
  if (!telling_)
    telling_ = c10::cuda::getStreamFromPool(/*isHighPriority=*/false, side_->device_index());
  const c10::cuda::CUDAStreamGuard guard(*telling_);
  for (auto& [part, event] : entry.parts) {
    event.block(*telling_);
    done(part);
  }
}

at::Tensor GraphCache::run(const Key& key, const model::Batch& batch, const Work& work,
                           const Done& done) {
  const c10::cuda::CUDAGuard guard(batch.ids.device());
  const auto [found, fresh] = entries_.try_emplace(key);
  Entry& entry = found->second;
  if (fresh || !prepare(key, entry, batch, work)) return work(key, batch, done);
  copy_tensors(entry.batch, batch);
  entry.graph->replay();
  tell(entry, done);
  at::Tensor result = entry.result.clone();
  record_beside(work);
  return result;
}

}  // namespace corda::train
