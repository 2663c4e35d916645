// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The buffers of a decoder block in training: one list, from which memory is taken and foretold.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "corda/model/model.h"
#include "train/low_rank_site.h"
#include "train/recompute.h"
#include "train/row_buffer.h"

namespace corda::train {

// A row of so many elements a token.
struct BufferPlan {
  std::string name;
  std::int64_t columns = 0;
  bool is_vector = false;  // one fp32 number a token
  // The setting of `recompute` from which on all blocks share one; nullopt: each always has its
  // own.
  std::optional<Recompute> shared_from;
  bool is_ours = true;  // false: a library makes it, and it is only counted

  std::int64_t bytes_per_token(std::int64_t element) const {
    return is_vector ? 4 : columns * element;
  }
  bool is_shared(Recompute recompute) const { return shared_from && recompute >= *shared_from; }
};
using BufferPlans = std::vector<BufferPlan>;

// Buffers made by a plan, in its order; empty where they are not ours.
std::vector<RowBuffer> make_buffers(const BufferPlans& plans, at::TensorOptions options,
                                    std::int64_t tokens);
// Puts those that `recompute` shares into the memory of `others`, made by an equal plan.
void share_buffers(std::vector<RowBuffer>& buffers, const std::vector<RowBuffer>& others,
                   const BufferPlans& plans, Recompute recompute);

// What a block uses and leaves to the next, [tokens, columns]; 0: not needed.
enum class Scratch : std::size_t {
  kNormed,        // the input of a branch, and its h: [H | rank]
  kGated,         // [I | rank]; its gradient is read by side work until the next branch's input
  kResidual,      // the gradient of the residual stream: [H | rank]; so are the last columns
  kGradNormed,    // [H]; read by side work until the next branch comes to its input
  kGradAttended,  // [query features]
  kHeads,         // queries, keys and values after norms of the heads, or their gradients
  kBranch,        // what a norm makes of a branch's output, or its gradient: [H | rank]
  kCount
};
using ScratchColumns = std::array<std::int64_t, static_cast<std::size_t>(Scratch::kCount)>;
// The columns that serve both.
ScratchColumns widest(const ScratchColumns& a, const ScratchColumns& b);

// The kept buffers of an attention, in their order.
enum AttentionBuffer : std::size_t { kQkv, kQkvBottom, kOutputBottom, kAttended };
// The buffers of a gated feed-forward, in their order.
enum FeedForwardBuffer : std::size_t { kGateUp, kGateUpBottom, kDownBottom };
// The buffers of a branch's norms, which stand before the branch's own.
enum NormBuffer : std::size_t { kInvRmsBefore, kBranchOut, kInvRmsAfter };

// Everything about a block that costs memory.
struct BlockPlan {
  BufferPlans attention;
  BufferPlans attention_norms;
  BufferPlans feed_forward;
  BufferPlans feed_forward_norms;
  BufferPlan middle;  // the residual stream between the two
  ScratchColumns scratch = {};
  std::int64_t packed_elements = 0;    // that the factors add to the weights
  std::int64_t weight_elements = 0;    // of the widest packed matrix of weights that are in codes
  std::int64_t gradient_elements = 0;  // of the factors, fp32
  // Where frozen weights are multiplied in float8: what their codes take beside what holds them
  // now, the bytes in which the widest of those that hold other codes is quantised on the fly, the
  // columns of the widest matrix that is multiplied, and the layers.
  std::int64_t float8_bytes = 0;
  std::int64_t float8_on_the_fly_bytes = 0;
  std::int64_t float8_columns = 0;
  std::int64_t float8_layers = 0;
  std::int64_t float8_elements = 0;  // of their weights
};
// `in_float8` as in SiteScratch.
BlockPlan plan_block(const model::ModelDescription& model, const model::Block& block,
                     bool in_float8);

// The columns of h of a site, one at least: no columns would mean a vector.
std::int64_t bottom_columns(std::int64_t rank);

}  // namespace corda::train
