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

// No more graphs than this are recorded: each holds a thousand launches, and the pool grows by what
// it has no room for yet.
constexpr std::size_t kMostGraphs = 32;

void copy_tensors(model::Batch& to, const model::Batch& from) {
  for (at::Tensor model::Batch::*tensor :
       {&model::Batch::ids, &model::Batch::positions, &model::Batch::cu_seqlens,
        &model::Batch::target_rows, &model::Batch::target_ids})
    (to.*tensor).copy_(from.*tensor, /*non_blocking=*/true);
}

}  // namespace

void GraphCache::record(Entry& entry, const model::Batch& batch, const Work& work, bool tells) {
  const c10::DeviceIndex device = batch.ids.device().index();
  if (!side_) {
    side_ = c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device);
    pool_ = at::cuda::graph_pool_handle();
  }
  at::cuda::CUDAEvent before;
  before.record(c10::cuda::getCurrentCUDAStream(device));
  before.block(*side_);
  // While recording, the allocator cannot give back what it keeps for later.
  c10::cuda::CUDACachingAllocator::emptyCache();
  auto graph = std::make_unique<at::cuda::CUDAGraph>();
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
    entry.result = work(batch, tells ? mark : Done());
    recording = false;
    graph->capture_end();  // makes the graph, for which memory can run out too
  } catch (...) {
    entry.recordable = false;
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
  const bool records = !entry.graph && entry.recordable && recorded_ < kMostGraphs;
  if (fresh || (!entry.graph && !records)) return work(batch, done);
  if (records) {
    try {
      record(entry, batch, work, key.tells);
    } catch (const std::exception& error) {
      if (!linalg::out_of_memory(error)) throw;
      return work(batch, done);  // runs it as it is, without memory for a graph
    }
  } else {
    copy_tensors(entry.batch, batch);
  }
  entry.graph->replay();
  tell(entry, done);
  return entry.result.clone();
}

}  // namespace corda::train
