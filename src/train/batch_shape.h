// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Sizes that batches are filled up to, so that what was recorded for one serves many.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <set>

#include "corda/data/batch.h"

namespace corda::train {

struct BatchShape {
  std::int64_t tokens = 0;
  std::int64_t sequences = 0;
  std::int64_t targets = 0;
  std::int64_t longest = 0;  // tokens of the longest sequence
  auto operator<=>(const BatchShape&) const = default;
};

// Tokens of the shape of a batch of so many: the next multiple of 64, rounded up to four binary
// digits (from 512 on at most an eighth more).
std::int64_t filled_up_tokens(std::int64_t tokens);

// The sizes of `batch` as it is.
BatchShape own_shape(const data::PackedBatch& batch);

// The shape that `batch` is filled up to. Where all sequences have one length and the number of
// tokens is a shape's already, only targets are added, so that attention still sees equal lengths.
BatchShape shape_for(const data::PackedBatch& batch);

// Shapes for the batches of a run, few of them: what is recorded for a shape costs about as much as
// several batches. A batch takes a shape that is there already where it fits, until what its shapes
// were too large, added up, would have paid for one of its own. Depends on the batches before.
class ShapeBook {
 public:
  // A shape of so many tokens as `serves` says it cannot record is never one of another batch.
  BatchShape shape_for(const data::PackedBatch& batch,
                       const std::function<bool(std::int64_t tokens)>& serves);

 private:
  std::set<BatchShape> known_;
  std::map<BatchShape, std::int64_t> debt_;  // by the shape that was not made
};

// `batch` with further sequences of token 0, empty sequences, and targets of id -1, which count for
// nothing: loss and gradients are those of `batch`. `shape` is one that shape_for gave for it.
data::PackedBatch filled_up(const data::PackedBatch& batch, const BatchShape& shape);

}  // namespace corda::train
