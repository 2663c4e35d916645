// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A branch of a decoder block: what is computed from the residual stream and added to it again. The
// block owns the norms around a branch and the addition; attention and feed-forward are branches.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "corda/model/attention_pass.h"
#include "corda/model/batch.h"
#include "corda/model/forward.h"
#include "train/block_plan.h"
#include "train/low_rank_site.h"
#include "train/row_buffer.h"

namespace corda::train {

// What is constant over a batch.
struct BatchContext {
  const model::Batch* batch = nullptr;
  const model::Positions* positions = nullptr;
  bool adds = false;  // the factors' gradients hold those of earlier batches of the step
};

// Memory that one block uses and leaves to the next.
class BlockScratch {
 public:
  BlockScratch(const ScratchColumns& columns, at::TensorOptions options, std::int64_t tokens);

  // The first `columns` columns of so many rows.
  at::Tensor rows(Scratch which, std::int64_t tokens, std::int64_t columns) const;

 private:
  std::vector<RowBuffer> buffers_;
};

// What a branch's forward leaves for its backward.
struct BranchKept {
  std::vector<RowBuffer> buffers;  // in the order of its plan
  model::AttentionPass attention;  // of an attention
};

class Branch {
 public:
  Branch() = default;
  Branch(const Branch&) = delete;
  Branch& operator=(const Branch&) = delete;
  virtual ~Branch() = default;

  // Where x goes in and where f(x) comes out.
  virtual LowRankSite& input() = 0;
  virtual LowRankSite& output() = 0;

  // f(x): x [tokens, H | rank of the input] -> out [tokens, H] = added + scale f(x), or f(x) where
  // `added` is undefined.
  virtual void forward(const BatchContext& context, const at::Tensor& x, const at::Tensor& out,
                       const at::Tensor& added, double scale, BranchKept& kept,
                       const BlockScratch& scratch) const = 0;
  // Computes again what `Recompute::kSelective` gives up; f(x) itself is not wanted.
  virtual void again(const BatchContext& context, const at::Tensor& x, BranchKept& kept,
                     const BlockScratch& scratch) const = 0;
  // From grad [tokens, H | rank of the output], the gradient of scale f(x) divided by scale: that
  // of x [tokens, H] unless undefined, and those of the factors but for A of the input. These are
  // computed beside (SideWork): that of the output's B reads `grad` until the backward of the
  // branch's input, before which all that came before is waited for. That of its A reads the last
  // columns of `grad` and the output's input until there, or, where it is marked, until the next
  // branch waits for the mark, which is before it fills in these columns. Those of the input read
  // `kept`, and `backward_a` x, until the backward of the next branch's input.
  virtual void backward(const BatchContext& context, const at::Tensor& grad, double scale,
                        const at::Tensor& grad_x, BranchKept& kept,
                        const BlockScratch& scratch) = 0;
  // The gradient of the input's A, which needs x [tokens, H] again.
  virtual void backward_a(const BatchContext& context, const at::Tensor& x,
                          const BranchKept& kept) = 0;
};

}  // namespace corda::train
