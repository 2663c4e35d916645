// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A trained model split over all ranks (ZeRO-3, Rajbhandari et al. 2020): each keeps its piece of
// the weights of every part, of their gradients and of the optimizer's moments.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "corda/dist/world.h"
#include "corda/model/model.h"
#include "model/block_tensors.h"
#include "train/shard_layout.h"

namespace corda::train {

// The model's tensors are views of a room, and hold weights only while their part is whole. Making
// a part whole, and summing its gradients, are calls that all ranks make in the same order,
// whatever their batches are. Everything is fp32, as where one rank trains alone, so that what is
// computed is the same.
class ShardedParameters {
 public:
  // `world` must outlive it.
  ShardedParameters(dist::World& world, const model::ModelDescription& config);

  const ShardLayout& layout() const { return layout_; }

  // Takes over the tensors of a part that was loaded, in the order of its places: this rank keeps
  // its piece. To be called for every part, then `open`.
  void take(std::size_t part, const model::NamedTensors& tensors);
  // No part follows; from now on the tensors that were taken are parameters in the room.
  void open();

  // What the optimizer trains, by the names of the parts: this rank's pieces, flat.
  std::vector<std::pair<std::string, at::Tensor>> pieces() const;

  // What is whole is of weights that have changed since.
  void forget();
  // Begins to make a part whole, beside what the caller does. What stands in its place in the room
  // is lost.
  void begin(std::size_t part);
  // Afterwards work on the tensors of the part sees its weights. On a GPU the current stream waits,
  // not the host.
  void bring(std::size_t part);

  // The gradients of the pieces begin at zero.
  void clear_gradients();
  // The gradients of the part's tensors begin at zero, in the room.
  void open_gradients(std::size_t part);
  // They are complete: their sum over the ranks begins, and is added to the gradients of the
  // pieces.
  void close_gradients(std::size_t part);
  // Afterwards the gradients of the pieces hold all that was closed.
  void finish_gradients();

  // The whole of which every rank gives its piece [piece(part)]: flat, in the room, until another
  // part is made whole.
  at::Tensor gathered(std::size_t part, const at::Tensor& piece);
  // Where the whole of a part stands in the room, for rank 0 to fill in; then every rank gets its
  // piece of that.
  at::Tensor room_of(std::size_t part);
  void spread(std::size_t part, const at::Tensor& piece);

  // What this rank holds: pieces of weights and gradients, and the room.
  std::int64_t bytes() const;

 private:
  struct Whole {
    std::size_t part = 0;
    std::unique_ptr<dist::Pending> pending;
  };
  struct Scattered {
    std::size_t part = 0;
    std::unique_ptr<dist::Pending> pending;
  };

  at::Tensor weights_of(std::size_t part) const;
  at::Tensor gradients_of(std::size_t part) const;
  // Nothing of the room from `begin` to `end` is in use any more.
  void vacate(std::int64_t begin, std::int64_t end);

  dist::World& world_;
  ShardLayout layout_;
  std::vector<std::vector<at::Tensor>> tensors_;  // of each part; they share the model's
  std::vector<at::Tensor> own_;                   // pieces of the weights
  std::vector<at::Tensor> gradients_;             // and of their gradients
  at::Tensor room_;
  at::Tensor received_;  // a piece of a sum
  std::vector<Whole> whole_;
  std::optional<Scattered> scattered_;
};

}  // namespace corda::train
