// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/low_rank_pass.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>

#include <algorithm>
#include <vector>

#include "corda/core/error.h"
#include "corda/kernels/cross_entropy.h"
#include "corda/kernels/embedding.h"
#include "corda/kernels/gemm_plans.h"
#include "corda/kernels/rms_norm.h"
#include "corda/model/attention_pass.h"
#include "corda/model/forward.h"
#include "train/batch_shape.h"
#include "train/block_inputs.h"
#include "train/device_batch.h"
#include "train/graph_cache.h"
#include "train/low_rank_block.h"

namespace corda::train {

namespace {

// Tokens x weights of a block below which graphs are faster by the measurements of
// tests/bench/README.md: where the batch must be filled up, and where it has a shape already.
constexpr double kLaunchBoundFilled = 1e11;
constexpr double kLaunchBoundExact = 4e11;

// Which batches run as graphs.
struct GraphRule {
  GraphRule(const model::Model& model, const LowRankPassOptions& options);

  bool allows(std::int64_t tokens, bool filled_up) const;
  // What buffers are made for: room to fill up the largest batch, where it would be a graph.
  std::int64_t tokens_held(std::int64_t tokens) const {
    const std::int64_t filled = filled_up_tokens(tokens);
    return allows(filled, filled > tokens) ? filled : tokens;
  }

  Graphs graphs = Graphs::kNever;
  double weights_per_block = 0;
};

GraphRule::GraphRule(const model::Model& model, const LowRankPassOptions& options) {
  // Buffers must stay where they are, and attention must not need autograd.
  const bool possible = model.device().is_cuda() && !options.offload && options.tokens > 0 &&
                        model::suits_flash(model.compute, model.config.head_dim);
  graphs = possible ? options.graphs : Graphs::kNever;
  for (const model::Linear* linear : model.projections())
    weights_per_block += static_cast<double>(linear->weight.numel());
  weights_per_block /= static_cast<double>(model.config.num_layers);
}

bool GraphRule::allows(std::int64_t tokens, bool filled_up) const {
  if (graphs != Graphs::kAuto) return graphs == Graphs::kAlways;
  return static_cast<double>(tokens) * weights_per_block <
         (filled_up ? kLaunchBoundFilled : kLaunchBoundExact);
}

class LowRankPass final : public GradientPass {
 public:
  LowRankPass(model::Model& model, const LowRankPassOptions& options);

  void begin_step() override;
  at::Tensor run(const data::PackedBatch& batch, double scale) override;
  std::string describe() const override;

 private:
  const kernels::GemmPlans* plans() const { return options_.tune ? &plans_ : nullptr; }
  void forward(const model::Batch& batch, const BatchContext& context);
  // Of the rows that have a target: the loss, and the gradient into the residual stream.
  at::Tensor loss_and_gradient(const model::Batch& batch);
  void backward(const BatchContext& context, std::int64_t tokens);
  at::Tensor compute(const model::Batch& batch);

  // Whether the backward starts by computing again what block i left.
  bool recomputes(std::size_t i, Recompute what) const {
    return options_.recompute >= what && i + 1 < blocks_.size();  // the last one's still stands
  }

  LowRankPassOptions options_;
  kernels::GemmPlans plans_;
  std::vector<LowRankBlock> blocks_;
  std::size_t lowest_ = 0;  // of the blocks with an adapter
  std::unique_ptr<BlockInputs> inputs_;
  RowBuffer last_;  // the output of the last block
  std::vector<BlockActivations> activations_;
  std::unique_ptr<BlockWorkspace> workspace_;
  kernels::WindowCopies refresh_;  // of all factors
  at::Tensor scale_;               // of the loss, fp32
  bool fresh_ = true;              // no gradients yet in this step
  GraphRule graph_rule_;
  ShapeBook shapes_;
  GraphCache graphs_;
};

LowRankPass::LowRankPass(model::Model& model, const LowRankPassOptions& options)
    : GradientPass(model),
      options_(options),
      plans_(options.tuning_cache),
      graph_rule_(model, options) {
  const at::TensorOptions like =
      at::TensorOptions().dtype(model.compute).device(model.device()).requires_grad(false);
  const at::NoGradGuard no_grad;
  options_.tokens = graph_rule_.tokens_held(options.tokens);
  WorkspaceColumns columns;
  blocks_.reserve(model.blocks.size());
  for (model::Block& block : model.blocks) {
    blocks_.emplace_back(block, model.config, plans());
    blocks_.back().add_refresh(refresh_);
    columns = widest(columns, blocks_.back().workspace_columns());
    activations_.push_back(blocks_.back().make_activations(like, options_.tokens));
  }
  while (!blocks_[lowest_].is_adapted()) ++lowest_;
  for (std::size_t i = 1; i < activations_.size(); ++i)
    activations_[i].share(activations_.front(),
                          i < lowest_ ? Recompute::kBlock : options.recompute);
  const std::int64_t count = model.config.num_layers;
  const std::int64_t hidden = model.config.hidden_size;
  inputs_ = options.offload ? make_host_inputs(count, hidden, like, options_.tokens)
                            : make_device_inputs(count, hidden, like, options_.tokens);
  last_ = RowBuffer(hidden, like, options_.tokens);
  workspace_ = std::make_unique<BlockWorkspace>(columns, like, options_.tokens);
  scale_ = at::ones({}, like.dtype(at::kFloat));
  // Where the weights lay before.
  if (model.device().is_cuda()) c10::cuda::CUDACachingAllocator::emptyCache();
  // What blocks of unequal ranks share must not grow once a graph knows where it is.
  if (options_.tokens > 0)
    for (const BlockActivations& kept : activations_) kept.reserve(options_.tokens);
}

void LowRankPass::begin_step() {
  const at::NoGradGuard no_grad;
  refresh_.run();
  fresh_ = true;
  for (LowRankBlock& block : blocks_) block.begin_step();
}

std::string LowRankPass::describe() const {
  return core::concat("fused, ", train::describe(options_.recompute), " recomputed",
                      options_.offload ? ", inputs of blocks in host memory" : "",
                      graph_rule_.graphs == Graphs::kNever ? "" : ", small batches as CUDA graphs");
}

void LowRankPass::forward(const model::Batch& batch, const BatchContext& context) {
  const std::int64_t tokens = batch.tokens();
  const std::int64_t count = model().config.num_layers;
  at::Tensor in = inputs_->write(0, tokens);
  kernels::embedding(in, model().embedding, batch.ids);
  for (std::int64_t i = 0; i < count; ++i) {
    inputs_->written(i, tokens);
    const auto index = static_cast<std::size_t>(i);
    const bool last = i + 1 == count;
    const at::Tensor out = last ? last_.rows(tokens) : inputs_->write(i + 1, tokens);
    BlockActivations& kept = activations_[index];
    blocks_[index].forward_attention(context, in, kept, *workspace_);
    blocks_[index].forward_gate_up(tokens, kept, *workspace_);
    blocks_[index].forward_down(out, kept, *workspace_);
    if (recomputes(index, Recompute::kBlock) || index < lowest_) kept.attention = {};
    in = out;
  }
}

at::Tensor LowRankPass::loss_and_gradient(const model::Batch& batch) {
  const model::Model& m = model();
  const at::Tensor rows = last_.rows(batch.tokens()).index_select(0, batch.target_rows);
  const std::int64_t count = rows.size(0);
  const at::TensorOptions fp32 = rows.options().dtype(at::kFloat);
  const at::Tensor inv_rms = at::empty({count}, fp32);
  const at::Tensor normed = at::empty_like(rows);
  kernels::rms_norm(normed, inv_rms, rows, m.final_norm, m.config.rms_norm_eps);

  const at::Tensor loss = at::empty({count}, fp32);
  kernels::linear_cross_entropy(
      loss, normed, normed, m.head_weight(), batch.target_ids, scale_,
      {.chunk = kernels::logit_rows(m.config.vocab_size), .plans = plans()});
  const at::Tensor grad = at::zeros_like(rows);
  kernels::rms_norm_backward(normed, grad, rows, inv_rms, m.final_norm, /*keep_output=*/false);
  const at::Tensor residual =
      workspace_->residual.rows(batch.tokens()).narrow(1, 0, m.config.hidden_size);
  residual.zero_();
  residual.index_copy_(0, batch.target_rows, grad);
  return loss.sum(at::kDouble);
}

void LowRankPass::backward(const BatchContext& context, std::int64_t tokens) {
  for (std::size_t i = blocks_.size(); i-- > lowest_;) {
    const at::Tensor in = inputs_->read(static_cast<std::int64_t>(i), tokens);
    BlockActivations& kept = activations_[i];
    if (recomputes(i, Recompute::kBlock))
      blocks_[i].forward_attention(context, in, kept, *workspace_);
    if (recomputes(i, Recompute::kSelective)) blocks_[i].forward_gate_up(tokens, kept, *workspace_);
    blocks_[i].backward(context, in, kept, *workspace_, /*input_needed=*/i > lowest_);
  }
}

at::Tensor LowRankPass::compute(const model::Batch& batch) {
  const model::Rotary rotary = model::rotary_of(model(), batch.positions);
  const BatchContext context{
      .batch = &batch, .cos = rotary.cos.squeeze(1), .sin = rotary.sin.squeeze(1), .adds = !fresh_};
  forward(batch, context);
  const at::Tensor loss = loss_and_gradient(batch);
  backward(context, batch.tokens());
  return loss;
}

at::Tensor LowRankPass::run(const data::PackedBatch& batch, double scale) {
  const at::NoGradGuard no_grad;
  if (options_.tokens > 0 && batch.tokens() > options_.tokens) {
    throw core::InternalError(core::concat("[train::LowRankPass] a batch of ", batch.tokens(),
                                           " tokens where ", options_.tokens, " were the most"));
  }
  scale_.fill_(scale);
  const BatchShape shape = shapes_.shape_for(batch, [&](std::int64_t tokens) {
    return tokens <= options_.tokens && graph_rule_.allows(tokens, /*filled_up=*/true);
  });
  const bool filled_up_too = shape != own_shape(batch);
  at::Tensor loss;
  if (shape.tokens <= options_.tokens && graph_rule_.allows(shape.tokens, filled_up_too)) {
    model::Batch filled = to_device(filled_up(batch, shape), model());
    filled.longest = shape.longest;
    loss = graphs_.run({shape, !fresh_}, filled, [&](const model::Batch& b) { return compute(b); });
  } else {
    loss = compute(to_device(batch, model()));
  }
  fresh_ = false;
  return loss;
}

}  // namespace

std::unique_ptr<GradientPass> make_low_rank_pass(model::Model& model,
                                                 const LowRankPassOptions& options) {
  return std::make_unique<LowRankPass>(model, options);
}

std::int64_t low_rank_pass_bytes(const model::Model& model, const LowRankPassOptions& options) {
  const model::ModelConfig& c = model.config;
  std::int64_t rank = 0;       // of all factors of the widest block
  std::int64_t packed = 0;     // elements that packing adds to the weights
  std::int64_t gradients = 0;  // elements
  for (const model::Block& block : model.blocks) {
    std::int64_t of_block = 0;
    for (const auto& site : sites_of(block)) {
      const SiteLayout layout = layout_of(site);
      const std::int64_t in = site.front()->weight.size(1);
      for (const SitePart& part : layout.parts) gradients += part.rows * part.rank;
      if (layout.trains_a) gradients += layout.rank * in;
      packed += layout.rank * (layout.out + in + layout.rank);
      of_block += layout.rank;
    }
    rank = std::max(rank, of_block);
  }
  const std::int64_t attended = c.num_heads * c.head_dim;
  const std::int64_t qkv = attended + 2 * c.num_kv_heads * c.head_dim;
  const std::int64_t upper = qkv + attended + c.hidden_size + 2 * rank;
  const std::int64_t gate_up = 2 * c.intermediate_size;
  const std::int64_t blocks = c.num_layers;
  std::int64_t columns = blocks * rank;
  columns += (options.offload ? 3 : blocks) * c.hidden_size;
  columns += (options.recompute == Recompute::kBlock ? 1 : blocks) * upper;
  columns += (options.recompute == Recompute::kNone ? blocks : 1) * gate_up;
  // Workspace, the gradients of q, k, v, and the head's rows.
  columns += 6 * c.hidden_size + c.intermediate_size + 2 * attended + 2 * qkv + 2 * rank;
  // Attention's second forward; k and v repeated for all heads, and the gradients of that.
  if (!model::suits_flash(model.compute, c.head_dim)) columns += attended;
  if (model::repeats_heads(model.compute, c)) columns += 4 * attended;
  const auto element = static_cast<std::int64_t>(c10::elementSize(model.compute));
  std::int64_t logits = kernels::logit_rows(c.vocab_size) * c.vocab_size;
  const GraphRule rule(model, options);
  const std::int64_t tokens = rule.tokens_held(options.tokens);
  if (rule.allows(tokens, false)) {  // what is temporary, once more in the graphs' own memory
    columns += (options.recompute == Recompute::kBlock ? 1 : blocks) * attended + 2 * qkv;
    logits *= 2;
  }
  return element * (packed + tokens * columns + logits) + 4 * gradients;
}

bool supports_low_rank_pass(const model::Model& model) {
  bool any = false;
  for (const model::Linear* linear : model.projections()) {
    if (linear->weight.scalar_type() != model.compute || linear->weight.requires_grad())
      return false;
    if (!linear->low_rank) continue;
    any = true;
    if (linear->low_rank->dropout > 0 || linear->low_rank->magnitude.defined()) return false;
  }
  const bool head = model.head_weight().scalar_type() == model.compute;
  return any && head && (model.compute == at::kFloat || model.compute == at::kBFloat16);
}

}  // namespace corda::train
