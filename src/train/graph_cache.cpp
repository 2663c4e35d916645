// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/graph_cache.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>

#include <array>

namespace corda::train {

namespace {

// Each holds a thousand launches and some of the pool's memory.
constexpr std::size_t kMostGraphs = 64;

void copy_tensors(model::Batch& to, const model::Batch& from) {
  for (at::Tensor model::Batch::*tensor :
       {&model::Batch::ids, &model::Batch::positions, &model::Batch::cu_seqlens,
        &model::Batch::target_rows, &model::Batch::target_ids})
    (to.*tensor).copy_(from.*tensor, /*non_blocking=*/true);
}

}  // namespace

void GraphCache::record(Entry& entry, const Work& work) {
  const c10::cuda::CUDAStream current = c10::cuda::getCurrentCUDAStream();
  const c10::cuda::CUDAStream side = c10::cuda::getStreamFromPool();  // the default cannot record
  at::cuda::CUDAEvent before;
  before.record(current);
  before.block(side);
  if (pool_ == at::cuda::MempoolId_t{}) pool_ = at::cuda::graph_pool_handle();
  entry.graph = std::make_unique<at::cuda::CUDAGraph>();
  const c10::cuda::CUDAStreamGuard guard(side);
  entry.graph->capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
  entry.result = work(entry.batch);
  entry.graph->capture_end();
}

at::Tensor GraphCache::run(const Key& key, const model::Batch& batch, const Work& work) {
  const auto [found, fresh] = entries_.try_emplace(key);
  Entry& entry = found->second;
  if (fresh || (!entry.graph && recorded_ >= kMostGraphs)) return work(batch);
  if (!entry.graph) {
    entry.batch = batch;
    record(entry, work);
    ++recorded_;
  } else {
    copy_tensors(entry.batch, batch);
  }
  entry.graph->replay();
  return entry.result.clone();
}

}  // namespace corda::train
