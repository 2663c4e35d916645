// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Forward and backward of one decoder block whose weights are frozen and whose adapters are
// trained, written out by hand: the residual stream, two branches (branch.h), the norms around
// them.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "corda/model/model.h"
#include "train/block_plan.h"
#include "train/branch.h"
#include "train/recompute.h"

namespace corda::train {

// What the forward of a block keeps for its backward.
struct BlockKept {
  BranchKept attention;
  BranchKept feed_forward;
  std::vector<RowBuffer> attention_norms;  // NormBuffer
  std::vector<RowBuffer> feed_forward_norms;
  RowBuffer middle;  // [tokens, H]: the residual stream after attention

  // Moves what `recompute` computes again into the memory of `other`, made for an equal plan.
  void share(const BlockKept& other, const BlockPlan& plan, Recompute recompute);
  // Takes the memory for so many tokens.
  void reserve(std::int64_t tokens, const BlockPlan& plan) const;
};
BlockKept make_kept(const BlockPlan& plan, at::TensorOptions options, std::int64_t tokens);

class LowRankBlock {
 public:
  // Block `layer` of the model. Both must outlive this.
  LowRankBlock(model::Block& block, const model::ModelDescription& model, std::int64_t layer,
               const kernels::GemmPlans* plans, SiteScratch* weights = nullptr);

  void add_refresh(kernels::WindowCopies& copies) const;
  void begin_step();
  // The gradients of the block's factors are in `flat` [gradient_elements()], fp32, from now on.
  std::int64_t gradient_elements() const;
  void place_gradients(const at::Tensor& flat);

  // Whether a layer of the block, or of its attention, has an adapter.
  bool is_adapted() const { return is_adapted(*attention_) || is_adapted(*feed_forward_); }

  // in [tokens, H] -> kept.middle: norm, attention, residual.
  void forward_attention(const BatchContext& context, const at::Tensor& in, BlockKept& kept,
                         const BlockScratch& scratch) const;
  // kept.middle -> out [tokens, H]: norm, feed-forward, residual.
  void forward_feed_forward(const BatchContext& context, const at::Tensor& out, BlockKept& kept,
                            const BlockScratch& scratch) const;
  // Computes again what `recompute` gave up, from the block's input.
  void again(const BatchContext& context, const at::Tensor& in, Recompute recompute,
             BlockKept& kept, const BlockScratch& scratch) const;
  // From the gradient of the output in Scratch::kResidual to that of the input `in`, in the same
  // place, and those of the factors. Overwrites what was kept. With `input_needed` false (nothing
  // below is trained) the gradient of the input is not computed.
  void backward(const BatchContext& context, const at::Tensor& in, BlockKept& kept,
                const BlockScratch& scratch, bool input_needed);

 private:
  // A branch with the norms around it, undefined where the family has none.
  struct Half {
    Branch& branch;
    const at::Tensor& norm_before;
    const at::Tensor& norm_after;
  };
  Half attention_half() const;
  Half feed_forward_half() const;
  static bool is_adapted(Branch& branch) {
    return branch.input().rank() + branch.output().rank() > 0;
  }

  // `in` as the branch sees it, in Scratch::kNormed with room for h.
  at::Tensor branch_input(const Half& half, const at::Tensor& in,
                          const std::vector<RowBuffer>& norms, const BlockScratch& scratch) const;
  // out = in + scale norm(f(norm(in))).
  void forward_half(const Half& half, const BatchContext& context, const at::Tensor& in,
                    const at::Tensor& out, BranchKept& kept, const std::vector<RowBuffer>& norms,
                    const BlockScratch& scratch) const;
  void backward_half(const Half& half, const BatchContext& context, const at::Tensor& in,
                     BranchKept& kept, const std::vector<RowBuffer>& norms,
                     const BlockScratch& scratch, bool input_needed);
  // The gradient of the branch's output from that of the residual stream.
  at::Tensor branch_gradient(const Half& half, std::int64_t tokens,
                             const std::vector<RowBuffer>& norms,
                             const BlockScratch& scratch) const;

  const model::Block& block_;
  const model::ModelDescription& model_;
  std::unique_ptr<Branch> attention_;
  std::unique_ptr<Branch> feed_forward_;
};

}  // namespace corda::train
