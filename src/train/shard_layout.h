// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Where the trained tensors of a model stand once they are split over ranks, in numbers alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "corda/model/description.h"

namespace corda::train {

// A tensor in the flat fp32 values of its part.
struct ShardPlace {
  std::string name;
  std::vector<std::int64_t> sizes;
  std::int64_t begin = 0;  // elements
  std::int64_t elements() const;
};

// What is whole at once: the embedding; a block; the final norm, with the head where that has a
// weight of its own.
struct ShardPart {
  std::string name;  // of a block, or of its tensors
  std::vector<ShardPlace> places;
  std::int64_t elements = 0;  // with what fills them up to pieces of one size
  // Where it stands in the room for whole parts while it is used, elements.
  std::int64_t weights = 0;
  std::int64_t gradients = 0;
};

// Each of `ranks` keeps one piece of every part: of its weights, gradients and two moments. The
// room holds the weights of the block in use and of the next one, the gradients of the block in use
// and of that before it, which are on their way; or in their place the embedding or the head.
struct ShardLayout {
  int ranks = 1;
  std::vector<ShardPart> parts;  // embedding, blocks, end
  std::int64_t room = 0;         // elements

  std::int64_t piece(std::size_t part) const { return parts[part].elements / ranks; }
  std::int64_t largest_piece() const;
  // Bytes of one rank: of one of the four kinds of pieces, and of what it has whole in use.
  std::int64_t piece_bytes() const;
  std::int64_t room_bytes() const { return 4 * (room + largest_piece()); }
  // All of it.
  std::int64_t state_bytes() const { return 4 * piece_bytes() + room_bytes(); }

  std::size_t embedding() const { return 0; }
  std::size_t block(std::int64_t layer) const { return static_cast<std::size_t>(layer) + 1; }
  std::size_t end() const { return parts.size() - 1; }
};

ShardLayout shard_layout(const model::ModelDescription& config, int ranks);

}  // namespace corda::train
