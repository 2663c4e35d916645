// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/low_rank_pass.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>

#include <algorithm>
#include <map>
#include <numeric>
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
#include "train/sharded_base.h"

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
  // Buffers must stay where they are, and attention must not need autograd. What is asked of shapes
  // alone is asked for a GPU. A graph would hold back what a sharded base gets from other ranks.
  const bool possible = !model.device().is_cpu() && !options.offload && options.tokens > 0 &&
                        !is_sharded(model) &&
                        model::suits_flash(model.compute, model.config.attention);
  graphs = possible ? options.graphs : Graphs::kNever;
  for (const model::Linear* linear : model.linear_layers())
    weights_per_block += static_cast<double>(linear->weight.numel());
  weights_per_block /= static_cast<double>(model.config.num_layers());
}

bool GraphRule::allows(std::int64_t tokens, bool filled_up) const {
  if (graphs != Graphs::kAuto) return graphs == Graphs::kAlways;
  return static_cast<double>(tokens) * weights_per_block <
         (filled_up ? kLaunchBoundFilled : kLaunchBoundExact);
}

// Whether what positions mean in sequences of so many tokens depends on their lengths, which a
// graph would hold fast.
bool positions_vary(const model::ModelDescription& model, std::int64_t longest) {
  if (model.attention.query_growth > 0 && longest > model.attention.query_growth_positions)
    return true;
  return std::any_of(model.rotaries.begin(), model.rotaries.end(), [&](const auto& rope) {
    return rope.depends_on_length() && longest > rope.original_positions;
  });
}

std::string describe_float8(const model::Model& model) {
  const Float8Part part = float8_part(model);
  return core::concat(", frozen products of ", part.layers, " of ", part.all_layers,
                      " layers in float8");
}

class LowRankPass final : public GradientPass {
 public:
  LowRankPass(model::Model& model, const LowRankPassOptions& options);

  void begin_step() override;
  at::Tensor run(const data::PackedBatch& batch, double scale, const BlockDone& done) override;
  void run_nothing() override { gradients_.all.zero_(); }
  FlatGradients flat_gradients() const override { return gradients_; }
  std::string describe() const override;

 private:
  const kernels::GemmPlans* plans() const {
    return options_.tuning == Tuning::kOff ? nullptr : &plans_;
  }
  void forward(const model::Batch& batch, const BatchContext& context);
  // Returns the loss of the rows that have a target, and puts its gradient into the residual
  // stream.
  at::Tensor loss_and_gradient(const model::Batch& batch);
  void backward(const BatchContext& context, std::int64_t tokens, const BlockDone& done);
  // `adds` to gradients that are there.
  at::Tensor compute(const model::Batch& batch, bool adds, const BlockDone& done);
  void place_gradients(at::TensorOptions fp32);

  // What the backward of block i starts by computing again; what the last one left still stands.
  Recompute recomputed(std::size_t i) const {
    return i + 1 < blocks_.size() ? options_.recompute : Recompute::kNone;
  }

  LowRankPassOptions options_;
  kernels::GemmPlans plans_;
  SiteScratch weights_;  // shared by all sites
  std::vector<LowRankBlock> blocks_;
  std::size_t lowest_ = 0;  // the lowest block with an adapter
  std::unique_ptr<BlockInputs> inputs_;
  RowBuffer last_;  // the output of the last block
  std::vector<BlockKept> kept_;
  std::unique_ptr<BlockScratch> scratch_;
  kernels::WindowCopies refresh_;  // copies all factors
  at::Tensor scale_;               // multiplies the loss, fp32
  FlatGradients gradients_;
  bool fresh_ = true;  // no gradients yet in this step
  GraphRule graph_rule_;
  std::string in_float8_;  // for `describe`
  ShapeBook shapes_;
  GraphCache graphs_;
};

LowRankPass::LowRankPass(model::Model& model, const LowRankPassOptions& options)
    : GradientPass(model),
      options_(options),
      plans_(options.tuning_cache, options.tuning == Tuning::kTimed),
      weights_(options.float8),
      graph_rule_(model, options),
      in_float8_(options.float8 ? describe_float8(model) : "") {
  const at::TensorOptions like =
      at::TensorOptions().dtype(model.compute).device(model.device()).requires_grad(false);
  const at::NoGradGuard no_grad;
  options_.tokens = graph_rule_.tokens_held(options.tokens);
  // Plans are made from the weights' sizes, so they come before the blocks move the weights.
  std::vector<BlockPlan> plans_of_blocks;
  ScratchColumns columns = {};
  std::int64_t weight_elements = 0;
  std::int64_t float8_columns = 0;
  for (const model::Block& block : model.blocks) {
    plans_of_blocks.push_back(plan_block(model.config, block, options.float8));
    const BlockPlan& plan = plans_of_blocks.back();
    columns = widest(columns, plan.scratch);
    weight_elements = std::max(weight_elements, plan.weight_elements);
    float8_columns = std::max(float8_columns, plan.float8_columns);
  }
  // The memory is taken at once, so that a graph finds it where it was.
  if (weight_elements > 0) weights_.matrix(1, weight_elements, like);
  if (float8_columns > 0) weights_.float8().rows(options_.tokens, float8_columns, model.device());
  blocks_.reserve(model.blocks.size());
  for (std::size_t i = 0; i < model.blocks.size(); ++i) {
    blocks_.emplace_back(model.blocks[i], model.config, static_cast<std::int64_t>(i), plans(),
                         &weights_);
    blocks_.back().add_refresh(refresh_);
    kept_.push_back(make_kept(plans_of_blocks[i], like, options_.tokens));
  }
  place_gradients(like.dtype(at::kFloat));
  while (!blocks_[lowest_].is_adapted()) ++lowest_;
  for (std::size_t i = 1; i < kept_.size(); ++i)
    kept_[i].share(kept_.front(), plans_of_blocks[i],
                   i < lowest_ ? Recompute::kBlock : options.recompute);
  const std::int64_t count = model.config.num_layers();
  const std::int64_t hidden = model.config.hidden_size;
  inputs_ = options.offload ? make_host_inputs(count, hidden, like, options_.tokens)
                            : make_device_inputs(count, hidden, like, options_.tokens);
  last_ = RowBuffer(hidden, like, options_.tokens);
  scratch_ = std::make_unique<BlockScratch>(columns, like, options_.tokens);
  scale_ = at::ones({}, like.dtype(at::kFloat));
  // The weights have moved, so the memory that they lay in before can go back.
  if (model.device().is_cuda()) c10::cuda::CUDACachingAllocator::emptyCache();
  // What blocks of unequal ranks share must not grow once a graph knows where it is.
  if (options_.tokens > 0)
    for (std::size_t i = 0; i < kept_.size(); ++i)
      kept_[i].reserve(options_.tokens, plans_of_blocks[i]);
}

void LowRankPass::place_gradients(at::TensorOptions fp32) {
  std::int64_t elements = 0;
  for (const LowRankBlock& block : blocks_) {
    gradients_.begin_of_block.push_back(elements);
    elements += block.gradient_elements();
  }
  gradients_.all = at::zeros({elements}, fp32);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    blocks_[i].place_gradients(
        gradients_.all.narrow(0, gradients_.begin_of_block[i], blocks_[i].gradient_elements()));
  }
}

void LowRankPass::begin_step() {
  const at::NoGradGuard no_grad;
  refresh_.run();
  fresh_ = true;
  for (LowRankBlock& block : blocks_) block.begin_step();
}

std::string LowRankPass::describe() const {
  return core::concat("fused, ", train::describe(options_.recompute), " recomputed",
                      options_.offload ? ", inputs of blocks in host memory" : "", in_float8_,
                      graph_rule_.graphs == Graphs::kNever ? "" : ", small batches as CUDA graphs");
}

void LowRankPass::forward(const model::Batch& batch, const BatchContext& context) {
  const std::int64_t tokens = batch.tokens();
  const std::int64_t count = model().config.num_layers();
  at::Tensor in = inputs_->write(0, tokens);
  kernels::embedding(in, model().embedding, batch.ids);
  const double scale = model::embedding_scale(model().config, model().embedding.scalar_type());
  if (scale != 1) in.mul_(scale);
  for (std::int64_t i = 0; i < count; ++i) {
    inputs_->written(i, tokens);
    const auto index = static_cast<std::size_t>(i);
    const bool last = i + 1 == count;
    const at::Tensor out = last ? last_.rows(tokens) : inputs_->write(i + 1, tokens);
    BlockKept& kept = kept_[index];
    blocks_[index].forward_attention(context, in, kept, *scratch_);
    blocks_[index].forward_feed_forward(context, out, kept, *scratch_);
    if (recomputed(index) == Recompute::kBlock || index < lowest_) kept.attention.attention = {};
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
  kernels::rms_norm(normed, inv_rms, rows, m.final_norm, m.config.norm_eps, m.config.norm);

  const at::Tensor loss = at::empty({count}, fp32);
  kernels::linear_cross_entropy(loss, normed, normed, m.head_weight(), batch.target_ids, scale_,
                                {.chunk = kernels::logit_rows(m.config.vocab_size),
                                 .plans = plans(),
                                 .rule = model::logit_rule(m.config),
                                 .entropy_power = m.entropy_power});
  const at::Tensor grad = at::zeros_like(rows);
  kernels::rms_norm_backward(normed, grad, rows, inv_rms, m.final_norm, /*keep_output=*/false,
                             m.config.norm);
  const at::Tensor residual =
      scratch_->rows(Scratch::kResidual, batch.tokens(), m.config.hidden_size);
  residual.zero_();
  residual.index_copy_(0, batch.target_rows, grad);
  return loss.sum(at::kDouble);
}

void LowRankPass::backward(const BatchContext& context, std::int64_t tokens,
                           const BlockDone& done) {
  for (std::size_t i = blocks_.size(); i-- > lowest_;) {
    const at::Tensor in = inputs_->read(static_cast<std::int64_t>(i), tokens);
    blocks_[i].again(context, in, recomputed(i), kept_[i], *scratch_);
    blocks_[i].backward(context, in, kept_[i], *scratch_, /*input_needed=*/i > lowest_);
    // Who is told sums the block's gradients. A next block that is computed again, or whose input
    // comes from the host, overwrites what the side work still reads; one that has all of its own
    // does so only behind the next join.
    if (done || options_.offload || options_.recompute == Recompute::kBlock)
      weights_.side_work().join();
    if (done) done(static_cast<std::int64_t>(i));
  }
}

at::Tensor LowRankPass::compute(const model::Batch& batch, bool adds, const BlockDone& done) {
  const model::Positions positions = model::positions_of(model(), batch);
  const BatchContext context{.batch = &batch, .positions = &positions, .adds = adds};
  const SideWork::Joined joined(weights_.side_work());  // also where something is thrown
  forward(batch, context);
  const at::Tensor loss = loss_and_gradient(batch);
  backward(context, batch.tokens(), done);
  return loss;
}

at::Tensor LowRankPass::run(const data::PackedBatch& batch, double scale, const BlockDone& done) {
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
  if (shape.tokens <= options_.tokens && graph_rule_.allows(shape.tokens, filled_up_too) &&
      !positions_vary(model().config, shape.longest)) {
    model::Batch filled = to_device(filled_up(batch, shape), model());
    filled.longest = shape.longest;
    loss = graphs_.run(
        {.shape = shape, .adds = !fresh_, .tells = static_cast<bool>(done)}, filled,
        [this](const GraphCache::Key& key, const model::Batch& b, const BlockDone& told) {
          return compute(b, key.adds, told);
        },
        done);
  } else {
    loss = compute(to_device(batch, model()), !fresh_, done);
  }
  fresh_ = false;
  return loss;
}

}  // namespace

std::unique_ptr<GradientPass> make_low_rank_pass(model::Model& model,
                                                 const LowRankPassOptions& options) {
  return std::make_unique<LowRankPass>(model, options);
}

namespace {

// Bytes a token of `plans`, over blocks that each have their own or share one.
class KeptBytes {
 public:
  KeptBytes(Recompute recompute, std::int64_t element) : recompute_(recompute), element_(element) {}

  void add(const BufferPlans& plans) {
    for (const BufferPlan& plan : plans) {
      const std::int64_t bytes = plan.bytes_per_token(element_);
      if (plan.is_shared(recompute_)) {
        std::int64_t& widest = shared_[plan.name];
        widest = std::max(widest, bytes);
      } else {
        own_ += bytes;
      }
    }
  }
  std::int64_t total() const {
    std::int64_t sum = own_;
    for (const auto& [name, bytes] : shared_) sum += bytes;
    return sum;
  }

 private:
  Recompute recompute_;
  std::int64_t element_;
  std::int64_t own_ = 0;
  std::map<std::string, std::int64_t> shared_;
};

// What libraries take for a moment in attention's backward, beside its results: columns a token.
std::int64_t attention_temporaries(const model::ModelDescription& m, at::ScalarType type) {
  const std::int64_t attended = m.attention.query_features();
  const std::int64_t qkv = attended + 2 * m.attention.key_features();
  std::int64_t columns = 2 * qkv + attended;  // dq, dk, dv, and again while they are laid out anew
  if (!model::suits_flash(type, m.attention)) columns += attended;  // the second forward
  if (model::repeats_heads(type, m.attention)) columns += 4 * attended;
  return columns;
}

}  // namespace

std::int64_t low_rank_pass_bytes(const model::Model& model, const LowRankPassOptions& options) {
  const model::ModelDescription& m = model.config;
  const auto element = static_cast<std::int64_t>(c10::elementSize(model.compute));
  KeptBytes kept(options.recompute, element);
  std::int64_t packed = 0;
  std::int64_t weights = 0;  // of the widest site in codes
  std::int64_t gradients = 0;
  std::int64_t float8 = 0;
  std::int64_t float8_on_the_fly_bytes = 0;
  std::int64_t float8_columns = 0;
  ScratchColumns scratch = {};
  for (const model::Block& block : model.blocks) {
    const BlockPlan plan = plan_block(m, block, options.float8);
    for (const BufferPlans* plans :
         {&plan.attention, &plan.attention_norms, &plan.feed_forward, &plan.feed_forward_norms})
      kept.add(*plans);
    kept.add({plan.middle});
    packed += plan.packed_elements;
    weights = std::max(weights, plan.weight_elements);
    gradients += plan.gradient_elements;
    float8 += plan.float8_bytes;
    float8_on_the_fly_bytes = std::max(float8_on_the_fly_bytes, plan.float8_on_the_fly_bytes);
    float8_columns = std::max(float8_columns, plan.float8_columns);
    scratch = widest(scratch, plan.scratch);
  }
  std::int64_t columns = std::accumulate(scratch.begin(), scratch.end(), std::int64_t{0});
  // These are the blocks' inputs and the last one's output.
  columns += ((options.offload ? 2 : m.num_layers()) + 1) * m.hidden_size;
  // Temporary memory is the head's (its rows, normed, their gradient, a chunk of logits) or an
  // attention's, never both at once.
  std::int64_t logits = kernels::logit_rows(m.vocab_size) * m.vocab_size;
  const GraphRule rule(model, options);
  const std::int64_t tokens = rule.tokens_held(options.tokens);
  if (rule.allows(tokens, false)) {  // what is temporary, once more in the graphs' own memory
    const std::int64_t attended = m.attention.query_features();
    columns += (options.recompute == Recompute::kBlock ? 1 : m.num_layers()) * attended +
               2 * (attended + 2 * m.attention.key_features());
    logits *= 2;
  }
  const std::int64_t temporary = std::max(tokens * 3 * m.hidden_size + logits,
                                          tokens * attention_temporaries(m, model.compute));
  if (float8_columns > 0) float8 += Float8Scratch::bytes(tokens, float8_columns);
  return element * (packed + weights + tokens * columns + temporary) + tokens * kept.total() +
         4 * gradients + float8 + float8_on_the_fly_bytes;
}

Float8Part float8_part(const model::Model& model) {
  Float8Part part;
  std::int64_t held = 0;
  std::int64_t all = 0;
  for (const model::Block& block : model.blocks) {
    const BlockPlan plan = plan_block(model.config, block, /*in_float8=*/true);
    part.layers += plan.float8_layers;
    held += plan.float8_elements;
    part.is_on_the_fly = part.is_on_the_fly || plan.float8_on_the_fly_bytes > 0;
    for (const model::Linear* linear : block.linear_layers()) {
      ++part.all_layers;
      all += linear->weight.numel();
    }
  }
  part.share = all > 0 ? static_cast<double>(held) / static_cast<double>(all) : 0;
  return part;
}

bool supports_low_rank_pass(const model::Model& model) {
  bool any = false;
  for (const model::Linear* linear : model.linear_layers()) {
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
