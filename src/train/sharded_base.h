// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The frozen base split over the ranks of a machine: each keeps its part of every block, and a
// block is whole on all of them while it is used.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "corda/dist/world.h"
#include "corda/model/model.h"

namespace corda::train {

// Of two blocks at most all weights are in memory: that in use, and the one that is used next,
// whose parts are under way meanwhile. What comes next follows from what came: a forward pass goes
// up, a backward pass down.
//
// Bringing a block is a call that all ranks of the machine make, so every rank must use the blocks
// in the same order and equally often, whatever its batches are.
class ShardedBase final : public model::BlockStore,
                          public std::enable_shared_from_this<ShardedBase> {
 public:
  // `world` must outlive it.
  explicit ShardedBase(dist::World& world) : world_(world) {}

  // Takes over the linear layers of a block that was loaded, in values or in codes: this rank keeps
  // its part. To be called for every block in turn, then `open`.
  void take(std::int64_t layer, model::Block& block);
  // No block follows; from now on `bring` may be called.
  void open();

  void bring(std::int64_t block) override;

  // What this rank holds of the blocks, and what whole blocks take beside that.
  std::int64_t own_bytes() const;
  std::int64_t whole_bytes() const;

 private:
  // A tensor of a layer, somewhere in the bytes of its block.
  struct Place {
    at::Tensor tensor;  // shares its implementation with the layer's
    std::vector<std::int64_t> sizes;
    std::int64_t begin = 0;  // bytes
  };
  struct Shard {
    std::vector<Place> places;
    at::Tensor own;  // u8
  };
  // A place for a whole block.
  struct Slot {
    at::Tensor bytes;  // u8
    std::int64_t block = -1;
    std::unique_ptr<dist::Pending> pending;
  };

  Slot& slot_of(std::int64_t block) {
    return slots_[static_cast<std::size_t>(block) % slots_.size()];
  }
  void begin(std::int64_t block);

  dist::World& world_;
  std::vector<Shard> shards_;  // of the blocks
  std::array<Slot, 2> slots_;
  std::int64_t last_ = -1;  // block that was brought
  std::int64_t direction_ = 1;
};

// What `ShardedBase` holds of a block of `bytes` on one of `ranks`, and what it would take whole.
std::int64_t shard_bytes(std::int64_t bytes, int ranks);

// Whether the model's blocks lie in a store, so that all ranks must use them alike.
bool is_sharded(const model::Model& model);

}  // namespace corda::train
