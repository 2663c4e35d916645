// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/sharded_base.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "corda/core/error.h"
#include "core/round_up.h"

namespace corda::train {

namespace {

// Where tensors begin, so that kernels read them as they would their own memory.
constexpr std::int64_t kAlignment = 256;

at::Tensor bytes_of(const at::Tensor& tensor) {
  return tensor.contiguous().view(-1).view(at::kByte);
}

}  // namespace

std::int64_t shard_bytes(std::int64_t bytes, int ranks) {
  return core::round_up(bytes, kAlignment * ranks) / ranks;
}

bool is_sharded(const model::Model& model) {
  return std::ranges::any_of(model.linear_layers(), [](const model::Linear* linear) {
    return linear->packed && linear->packed->store;
  });
}

void ShardedBase::take(std::int64_t layer, model::Block& block) {
  if (layer != static_cast<std::int64_t>(shards_.size()))
    throw core::InternalError("[train::ShardedBase] blocks come in their order");
  Shard shard;
  std::int64_t end = 0;
  std::vector<at::Tensor> contents;
  for (model::Linear* linear : block.linear_layers()) {
    auto packed = linear->packed ? std::make_shared<model::PackedLinear>(*linear->packed)
                                 : std::make_shared<model::PackedLinear>();
    if (linear->packed) {
      // Layers may hold one table, of which each will have a place of its own.
      packed->codes = packed->codes.to(linear->device(), /*copies=*/true);
    } else {
      packed->values = linear->weight;
      linear->weight = at::empty_like(linear->weight, at::kMeta);
    }
    packed->store = shared_from_this();
    packed->block = layer;
    for (const at::Tensor& tensor :
         packed->values.defined() ? std::vector{packed->values} : packed->codes.tensors()) {
      contents.push_back(bytes_of(tensor));
      shard.places.push_back({.tensor = tensor, .sizes = tensor.sizes().vec(), .begin = end});
      end = core::round_up(end + contents.back().numel(), kAlignment);
    }
    linear->packed = std::move(packed);
  }
  const std::int64_t piece = shard_bytes(end, world_.local_size());
  const at::Tensor whole = at::zeros({piece * world_.local_size()}, contents.front().options());
  for (std::size_t i = 0; i < contents.size(); ++i)
    whole.narrow(0, shard.places[i].begin, contents[i].numel()).copy_(contents[i]);
  shard.own = whole.narrow(0, piece * world_.local_place(), piece).clone();
  // The whole block is let go now, not when all have come.
  for (Place& place : shard.places) {
    const at::Tensor nothing = at::empty({0}, place.tensor.options());
    place.tensor.set_(nothing.storage(), 0, {0});
  }
  shards_.push_back(std::move(shard));
}

void ShardedBase::open() {
  std::int64_t largest = 0;
  for (const Shard& shard : shards_) largest = std::max(largest, shard.own.numel());
  for (Slot& slot : slots_)
    slot.bytes = at::empty({largest * world_.local_size()}, shards_.front().own.options());
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    for (Place& place : shards_[i].places) {
      const at::Tensor& home = slot_of(static_cast<std::int64_t>(i)).bytes;
      const auto element = static_cast<std::int64_t>(place.tensor.element_size());
      place.tensor.set_(home.storage(), place.begin / element, place.sizes);
    }
  }
}

void ShardedBase::begin(std::int64_t block) {
  Slot& slot = slot_of(block);
  if (slot.block == block) return;
  if (slot.pending) slot.pending->wait();
  const at::Tensor& own = shards_[static_cast<std::size_t>(block)].own;
  slot.block = block;
  slot.pending =
      world_.begin_local_gather(slot.bytes.narrow(0, 0, own.numel() * world_.local_size()), own);
}

void ShardedBase::bring(std::int64_t block) {
  if (block == last_) return;
  begin(block);
  if (Slot& slot = slot_of(block); slot.pending) std::exchange(slot.pending, nullptr)->wait();
  if (last_ >= 0) direction_ = block > last_ ? 1 : -1;
  last_ = block;
  const std::int64_t next = block + direction_;
  if (next >= 0 && next < static_cast<std::int64_t>(shards_.size())) begin(next);
}

std::int64_t ShardedBase::own_bytes() const {
  std::int64_t bytes = 0;
  for (const Shard& shard : shards_) bytes += shard.own.numel();
  return bytes;
}

std::int64_t ShardedBase::whole_bytes() const {
  return slots_[0].bytes.numel() + slots_[1].bytes.numel();
}

}  // namespace corda::train
