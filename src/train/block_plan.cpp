// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/block_plan.h"

#include <algorithm>

namespace corda::train {

namespace {

BufferPlan rows(std::string name, std::int64_t columns, std::optional<Recompute> shared_from) {
  return {.name = std::move(name),
          .columns = columns,
          .is_vector = false,
          .shared_from = shared_from,
          .is_ours = true};
}

BufferPlan vector(std::string name, std::optional<Recompute> shared_from) {
  return {.name = std::move(name),
          .columns = 0,
          .is_vector = true,
          .shared_from = shared_from,
          .is_ours = true};
}

// The buffers that the norms of a branch keep. One that is not needed has no columns, and none is
// made for it.
BufferPlans plan_norms(const at::Tensor& before, const at::Tensor& after, std::int64_t hidden,
                       Recompute given_up) {
  const auto needed = [](BufferPlan plan, bool is_needed) {
    return is_needed ? plan : BufferPlan{.name = plan.name, .shared_from = {}, .is_ours = false};
  };
  return {needed(vector("1 / rms before", given_up), before.defined()),
          needed(rows("output of the branch", hidden, Recompute::kBlock), after.defined()),
          needed(vector("1 / rms after", Recompute::kBlock), after.defined())};
}

std::int64_t& at(ScratchColumns& columns, Scratch which) {
  return columns[static_cast<std::size_t>(which)];
}

std::int64_t resident_bytes(const std::vector<const model::Linear*>& linears) {
  std::int64_t bytes = 0;
  for (const model::Linear* linear : linears)
    bytes += static_cast<std::int64_t>(linear->weight.nbytes());
  return bytes;
}

}  // namespace

std::int64_t bottom_columns(std::int64_t rank) { return std::max<std::int64_t>(rank, 1); }

std::vector<RowBuffer> make_buffers(const BufferPlans& plans, at::TensorOptions options,
                                    std::int64_t tokens) {
  std::vector<RowBuffer> buffers;
  for (const BufferPlan& plan : plans) {
    if (!plan.is_ours) {
      buffers.emplace_back();
    } else if (plan.is_vector) {
      buffers.emplace_back(0, options.dtype(at::kFloat), tokens);
    } else {
      buffers.emplace_back(plan.columns, options, tokens);
    }
  }
  return buffers;
}

void share_buffers(std::vector<RowBuffer>& buffers, const std::vector<RowBuffer>& others,
                   const BufferPlans& plans, Recompute recompute) {
  for (std::size_t i = 0; i < plans.size(); ++i) {
    if (plans[i].is_ours && plans[i].is_shared(recompute))
      buffers[i] = buffers[i].in_memory_of(others[i]);
  }
}

ScratchColumns widest(const ScratchColumns& a, const ScratchColumns& b) {
  ScratchColumns result = a;
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = std::max(result[i], b[i]);
  return result;
}

BlockPlan plan_block(const model::ModelDescription& model, const model::Block& block,
                     bool in_float8) {
  BlockPlan plan;
  std::array<SiteLayout, 4> layouts;
  const auto sites = model.sites();
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    layouts[i] = layout_of(linears_of(block.sites[i]));
    const auto linears = linears_of(block.sites[i]);
    const std::int64_t in = sites[i]->in_features;
    const std::int64_t out = layouts[i].out;
    plan.gradient_elements += gradient_elements(layouts[i], in);
    plan.packed_elements += layouts[i].rank * (out + in + layouts[i].rank);
    if (in_float8 && Float8Weight::suits(out, in)) {
      if (Float8Weight::is_on_the_fly(linears)) {
        const auto element = static_cast<std::int64_t>(linears.front()->weight.element_size());
        plan.float8_on_the_fly_bytes = std::max(plan.float8_on_the_fly_bytes,
                                                Float8Scratch::on_the_fly_bytes(out, in, element));
      } else {
        plan.float8_bytes += Float8Weight::bytes(out, in) - resident_bytes(linears);
      }
      plan.float8_columns = std::max({plan.float8_columns, out, in});
      plan.float8_layers += static_cast<std::int64_t>(linears.size());
      plan.float8_elements += out * in;
    } else {
      plan.weight_elements =
          std::max(plan.weight_elements, SiteScratch::elements_of(linears, layouts[i]));
    }
  }
  const SiteLayout& qkv = layouts[model::kAttentionInput];
  const SiteLayout& output = layouts[model::kAttentionOutput];
  const SiteLayout& gate_up = layouts[model::kFeedForwardInput];
  const SiteLayout& down = layouts[model::kFeedForwardOutput];
  const std::int64_t hidden = model.hidden_size;
  const std::int64_t attended = model.attention.query_features();

  plan.attention = {rows("q k v", qkv.out + qkv.rank, Recompute::kBlock),
                    rows("h of q k v", bottom_columns(qkv.rank), Recompute::kBlock),
                    rows("h of o", bottom_columns(output.rank), Recompute::kBlock),
                    {.name = "attention's output",
                     .columns = attended,
                     .is_vector = false,
                     .shared_from = Recompute::kBlock,
                     .is_ours = false}};
  plan.attention_norms = plan_norms(block.norm_before_attention, block.norm_after_attention, hidden,
                                    Recompute::kBlock);
  plan.feed_forward = {rows("gate up", gate_up.out + gate_up.rank, Recompute::kSelective),
                       rows("h of gate up", bottom_columns(gate_up.rank), Recompute::kSelective),
                       rows("h of down", bottom_columns(down.rank), std::nullopt)};
  plan.feed_forward_norms = plan_norms(
      block.norm_before_feed_forward, block.norm_after_feed_forward, hidden, Recompute::kSelective);
  plan.middle = rows("middle", hidden, Recompute::kBlock);

  at(plan.scratch, Scratch::kNormed) = hidden + std::max(qkv.rank, gate_up.rank);
  at(plan.scratch, Scratch::kGated) = model.feed_forward.intermediate + down.rank;
  at(plan.scratch, Scratch::kResidual) = hidden + std::max(output.rank, down.rank);
  at(plan.scratch, Scratch::kGradNormed) = hidden;
  at(plan.scratch, Scratch::kGradAttended) = attended;
  if (block.query_norm.defined()) at(plan.scratch, Scratch::kHeads) = qkv.out;
  if (block.norm_after_attention.defined() || block.norm_after_feed_forward.defined())
    at(plan.scratch, Scratch::kBranch) = at(plan.scratch, Scratch::kResidual);
  return plan;
}

}  // namespace corda::train
