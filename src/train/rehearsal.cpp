// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/rehearsal.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "corda/adapter/initialise.h"
#include "corda/kernels/cross_entropy.h"
#include "corda/kernels/gemm_plans.h"
#include "corda/linalg/device.h"
#include "corda/model/adapt.h"
#include "corda/model/largest_rank.h"
#include "corda/model/model.h"
#include "corda/train/optimizer.h"
#include "core/round_up.h"
#include "train/batch_shape.h"
#include "train/choose_pass.h"
#include "train/low_rank_pass.h"
#include "train/trainable.h"

namespace corda::train {

namespace {

constexpr std::int64_t kRank = 128;  // of adapters whose rank is not set
// Tokens of a sequence. Where all lengths are one multiple of 128, attention is cuDNN's, which
// takes long to plan for a shape; those of text are not.
constexpr std::int64_t kSequence = 500;
constexpr std::int64_t kFreeOverNeeded = 2;  // so that the run cannot want for memory because of it

// The model with its first block alone.
model::ModelDescription first_block_of(model::ModelDescription described) {
  described.blocks.resize(1);
  return described;
}

model::Model stand_in(const model::ModelDescription& described, at::ScalarType type,
                      at::Device device) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, shape] : model::expected_tensors(described))
    tensors[name] = at::zeros(shape, at::TensorOptions().dtype(type).device(device));
  model::Model model =
      model::model_without_weights(described, {.device = device, .weights = type, .compute = type});
  model.blocks.front() =
      model::make_block(described, 0, [&](const std::string& name) { return tensors.at(name); });
  for (auto& [name, tensor] : model.parameters())
    if (!tensor->defined()) *tensor = tensors.at(name);
  return model;
}

std::int64_t rank_of(const TrainSettings& settings, const model::ModelDescription& described) {
  return std::min(settings.lora.rank > 0 ? settings.lora.rank : kRank,
                  model::largest_rank(described));
}

// Puts a LoRA beside every layer; gives its factors.
std::vector<std::pair<std::string, at::Tensor>> adapt(model::Model& model, std::int64_t rank) {
  adapter::Adapter adapter;
  adapter.rank = rank;
  adapter.alpha = static_cast<double>(rank);
  for (const model::Linear* linear : std::as_const(model).linear_layers()) {
    adapter.layers[linear->name] = adapter::initialise_lora(
        linear->weight.size(0), linear->weight.size(1), rank, /*seed=*/0, linear->name);
  }
  model::attach_trainable(model, adapter);
  std::vector<std::pair<std::string, at::Tensor>> factors;
  for (model::Linear* linear : model.linear_layers()) {
    factors.emplace_back(linear->name + ".lora_A", linear->low_rank->a);
    factors.emplace_back(linear->name + ".lora_B", linear->low_rank->b);
  }
  return factors;
}

std::int64_t tokens_of(const TrainSettings& settings) {
  constexpr std::int64_t kMostTokens = 8192;
  return filled_up_tokens(std::min(settings.optim.micro_batch_tokens, kMostTokens));
}

// The sizes of batches, beside the largest, whose products may have algorithms that are kept: each
// has kernels of its own. A run fills its batches, so none is of less than half; what is kept for a
// width of the model may be of its gradients.
std::vector<std::int64_t> other_sizes(const TrainSettings& settings,
                                      const model::ModelDescription& described, at::Device device) {
  constexpr std::size_t kMostSizes = 4;
  const std::int64_t largest = tokens_of(settings);
  std::set<std::int64_t> rows = kernels::rows_kept(settings.tuning_cache, device);
  for (const auto& [name, shape] : model::expected_tensors(described))
    for (const std::int64_t width : shape) rows.erase(core::size_class(width));
  std::vector<std::int64_t> sizes;
  for (auto size = rows.rbegin(); size != rows.rend() && sizes.size() < kMostSizes; ++size)
    if (*size >= largest / 2 && *size < largest && *size == filled_up_tokens(*size))
      sizes.push_back(*size);
  return sizes;
}

// The first so many tokens have targets.
data::PackedBatch batch_of(std::int64_t tokens, std::int64_t targets,
                           const model::ModelDescription& described) {
  const std::int64_t positions = described.max_positions;
  const std::int64_t longest = positions > 2 ? std::min(kSequence, positions - 1) : kSequence;
  data::PackedBatch batch;
  for (std::int64_t left = tokens; left > 0; left -= longest) {
    data::Sample sample;
    sample.ids.assign(static_cast<std::size_t>(std::min(left, longest)), 0);
    sample.supervised.assign(sample.ids.size(), 0);
    const std::int64_t some = std::min<std::int64_t>(targets, std::ssize(sample.supervised));
    std::fill_n(sample.supervised.begin(), some, 1);
    targets -= some;
    data::append(batch, sample);
  }
  return batch;
}

LowRankPassOptions options_of(const TrainSettings& settings) {
  LowRankPassOptions options = allowed_options(settings, tokens_of(settings)).front();
  options.graphs = Graphs::kNever;
  options.tuning = Tuning::kKept;
  return options;
}

bool is_rehearsed(const TrainSettings& settings) {
  const bool fused = settings.gradients == "auto" || settings.gradients == "fused";
  // Codes and parts would have to be made first; in fp32 it takes longer than what it saves.
  return fused && method_can_be_fused(settings) && !asks_for_codes(settings) && !settings.shard &&
         settings.offload != "true" && settings.precision != "fp32";
}

std::int64_t bytes_of(const model::ModelDescription& described, at::ScalarType type) {
  std::int64_t elements = 0;
  for (const auto& [name, shape] : model::expected_tensors(described))
    elements += c10::multiply_integers(shape);
  return elements * static_cast<std::int64_t>(c10::elementSize(type));
}

// Of the model and what is rehearsed, which are in memory at the same time.
std::int64_t bytes_of_both(const TrainSettings& settings,
                           const model::ModelDescription& described) {
  const model::ModelDescription first = first_block_of(described);
  const at::ScalarType type = compute_type(settings.precision, at::kCUDA);
  return bytes_of(described, type) + bytes_of(first, type) +
         low_rank_pass_bytes(stand_in(first, type, at::kMeta), options_of(settings));
}

}  // namespace

Rehearsed rehearse(const TrainSettings& settings, const model::ModelDescription& described,
                   at::Device device) {
  const model::ModelDescription first = first_block_of(described);
  model::Model model = stand_in(first, compute_type(settings.precision, device), device);
  AdamW optimizer(adapt(model, rank_of(settings, first)),
                  {.beta1 = settings.optim.betas[0],
                   .beta2 = settings.optim.betas[1],
                   .eps = settings.optim.eps,
                   .weight_decay = settings.optim.weight_decay});
  model.entropy_power = settings.loss.power();
  const std::unique_ptr<GradientPass> pass = make_low_rank_pass(model, options_of(settings));
  const std::int64_t tokens = tokens_of(settings);
  const data::PackedBatch batch = batch_of(tokens, /*targets=*/tokens, first);
  const auto targets = static_cast<double>(batch.targets());
  pass->begin_step();
  const at::Tensor loss = pass->run(batch, 1 / targets);
  const at::Tensor norm = optimizer.step(settings.optim.lr, settings.optim.grad_clip);
  optimizer.clear_gradients();
  // As many targets as are taken at once: products of their rest would be of no run's size.
  const std::int64_t at_once = kernels::logit_rows(first.vocab_size);
  for (const std::int64_t size : other_sizes(settings, first, device)) {
    pass->begin_step();
    pass->run(batch_of(size, at_once, first), 1 / targets);
  }
  return {.loss = loss.item<double>() / targets, .grad_norm = norm.item<double>()};
}

std::function<void()> rehearsal_of(const TrainSettings& settings,
                                   const model::ModelDescription& described, at::Device device) {
  if (!device.is_cuda() || !is_rehearsed(settings)) return {};
  if (kFreeOverNeeded * bytes_of_both(settings, described) > linalg::free_memory_bytes(device))
    return {};
  return [settings, described, device] { rehearse(settings, described, device); };
}

}  // namespace corda::train
