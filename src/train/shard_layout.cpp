// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/shard_layout.h"

#include <algorithm>
#include <utility>

#include "corda/core/checked.h"
#include "corda/model/model.h"
#include "core/round_up.h"

namespace corda::train {

namespace {

// Elements between which tensors begin, so that kernels read them as they would their own memory.
constexpr std::int64_t kAlignment = 64;

void add(ShardPart& part, std::string name, std::vector<std::int64_t> sizes) {
  ShardPlace place{.name = std::move(name), .sizes = std::move(sizes), .begin = part.elements};
  part.elements = core::round_up(place.begin + place.elements(), kAlignment);
  part.places.push_back(std::move(place));
}

// Gives every part its place in the room.
void furnish(ShardLayout& layout, bool tied) {
  std::int64_t block = 0;
  for (std::size_t i = 1; i < layout.end(); ++i) block = std::max(block, layout.parts[i].elements);
  for (std::size_t i = 1; i < layout.end(); ++i) {
    const auto slot = static_cast<std::int64_t>(i % 2);
    layout.parts[i].weights = slot * block;
    layout.parts[i].gradients = (2 + slot) * block;
  }
  ShardPart& embedding = layout.parts.front();
  ShardPart& end = layout.parts.back();
  // The head needs its weights beside their gradients; where it is the embedding, that and the norm
  // stand beside each other. The gradients of an embedding need no weights.
  if (tied) {
    embedding.gradients = embedding.elements;
    end.weights = 2 * embedding.elements;
  }
  end.gradients = end.weights + end.elements;
  layout.room =
      std::max({4 * block, embedding.gradients + embedding.elements, end.gradients + end.elements});
}

}  // namespace

std::int64_t ShardPlace::elements() const {
  std::int64_t count = 1;
  for (const std::int64_t size : sizes) count = core::checked_mul(count, size, name.c_str());
  return count;
}

std::int64_t ShardLayout::largest_piece() const {
  std::int64_t largest = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) largest = std::max(largest, piece(i));
  return largest;
}

std::int64_t ShardLayout::piece_bytes() const {
  std::int64_t elements = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) elements += piece(i);
  return 4 * elements;
}

ShardLayout shard_layout(const model::ModelDescription& config, int ranks) {
  ShardLayout layout{.ranks = ranks, .parts = {}};
  auto tensors = model::expected_tensors(config);
  std::size_t next = 0;
  const auto part_of = [&](std::size_t count, const std::string& name) {
    ShardPart part{.name = name, .places = {}};
    for (std::size_t i = 0; i < count; ++i, ++next) {
      if (name.empty()) part.name += (i == 0 ? "" : " or ") + tensors[next].first;
      add(part, std::move(tensors[next].first), std::move(tensors[next].second));
    }
    part.elements = core::round_up(part.elements, kAlignment * ranks);
    layout.parts.push_back(std::move(part));
  };
  part_of(1, "");
  for (std::int64_t layer = 0; layer < config.num_layers(); ++layer)
    part_of(model::block_tensors(config, layer).size(), config.block_name(layer));
  part_of(tensors.size() - next, "");
  furnish(layout, config.tied);
  return layout;
}

}  // namespace corda::train
