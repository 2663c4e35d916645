// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Forward and backward of one decoder block whose weights are frozen and whose adapters are
// trained, written out by hand: what is kept, what is computed again, and what is written where.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <vector>

#include "corda/model/attention_pass.h"
#include "corda/model/batch.h"
#include "corda/model/model.h"
#include "train/low_rank_site.h"
#include "train/recompute.h"
#include "train/row_buffer.h"

namespace corda::train {

// What the forward of a block keeps for its backward. H: hidden, n: query, key and value features,
// I: intermediate.
struct BlockActivations {
  RowBuffer qkv;      // [tokens, n | rank]: rotated q and k, and v; then their gradients
  RowBuffer gate_up;  // [tokens, 2 I | rank]: gate and up; then their gradients
  RowBuffer middle;   // [tokens, H]: the residual stream after attention
  RowBuffer qkv_bottom, o_bottom, gate_up_bottom, down_bottom;  // h of each site
  RowBuffer inv_rms_in, inv_rms_middle;                         // [tokens], fp32
  model::AttentionPass attention;

  // Moves what `recompute` computes again into the memory of `other`.
  void share(const BlockActivations& other, Recompute recompute);
  // Takes the memory for so many tokens.
  void reserve(std::int64_t tokens) const;
};

// Columns of the buffers below.
struct WorkspaceColumns {
  std::int64_t normed = 0;
  std::int64_t gated = 0;
  std::int64_t residual = 0;
  std::int64_t hidden = 0;
  std::int64_t attended = 0;
};
// What serves both.
WorkspaceColumns widest(const WorkspaceColumns& a, const WorkspaceColumns& b);

// Memory that one block uses and leaves to the next.
struct BlockWorkspace {
  BlockWorkspace(const WorkspaceColumns& columns, at::TensorOptions options, std::int64_t tokens);

  RowBuffer normed;         // [tokens, H | rank]
  RowBuffer gated;          // [tokens, I | rank]
  RowBuffer residual;       // [tokens, H | rank]: the gradient of the residual stream
  RowBuffer grad_normed;    // [tokens, H]
  RowBuffer grad_attended;  // [tokens, query features]
};

// What is constant over a batch.
struct BatchContext {
  const model::Batch* batch = nullptr;
  at::Tensor cos;  // [tokens, d / 2], fp32
  at::Tensor sin;
  bool adds = false;  // the factors' gradients hold those of earlier batches of the step
};

// A block's projections in the order of the forward pass, those that share an input together:
// [q, k, v], [o], [gate, up], [down].
std::array<std::vector<model::Linear*>, 4> sites_of(model::Block& block);
std::array<std::vector<const model::Linear*>, 4> sites_of(const model::Block& block);

class LowRankBlock {
 public:
  // All three must outlive the block.
  LowRankBlock(model::Block& block, const model::ModelConfig& config,
               const kernels::GemmPlans* plans);

  void add_refresh(kernels::WindowCopies& copies) const;
  void begin_step();

  // Whether a projection of the block, or of its attention, has an adapter.
  bool is_adapted() const { return adapts_attention() || gate_up_.rank() + down_.rank() > 0; }

  // `tokens`: of the largest batch expected.
  BlockActivations make_activations(at::TensorOptions options, std::int64_t tokens) const;
  WorkspaceColumns workspace_columns() const;

  // in [tokens, H] -> kept.middle: norm, attention, residual.
  void forward_attention(const BatchContext& context, const at::Tensor& in, BlockActivations& kept,
                         BlockWorkspace& workspace) const;
  // kept.middle -> kept.gate_up: norm and the two upper projections.
  void forward_gate_up(std::int64_t tokens, BlockActivations& kept,
                       BlockWorkspace& workspace) const;
  // kept.gate_up, kept.middle -> out [tokens, H]: activation, lower projection, residual.
  void forward_down(const at::Tensor& out, BlockActivations& kept, BlockWorkspace& workspace) const;
  // From the gradient of the output in workspace.residual to that of the input `in`, in the same
  // place, and those of the factors. Overwrites kept.qkv and kept.gate_up. With
  // `input_needed` false (nothing below is trained) the gradient of the input is not computed.
  void backward(const BatchContext& context, const at::Tensor& in, BlockActivations& kept,
                BlockWorkspace& workspace, bool input_needed);

 private:
  struct Heads;
  Heads heads_of(const at::Tensor& qkv) const;
  bool adapts_attention() const { return qkv_.rank() + o_.rank() > 0; }
  // With `input_needed` false the gradient of the input is not computed.
  void backward_mlp(const BatchContext& context, std::int64_t tokens, BlockActivations& kept,
                    BlockWorkspace& workspace, bool input_needed);
  void backward_attention(const BatchContext& context, const at::Tensor& in, BlockActivations& kept,
                          BlockWorkspace& workspace, bool input_needed);

  model::Block& block_;
  const model::ModelConfig& config_;
  LowRankSite qkv_;
  LowRankSite o_;
  LowRankSite gate_up_;
  LowRankSite down_;
};

}  // namespace corda::train
