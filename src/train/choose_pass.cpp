// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/choose_pass.h"

#include <ATen/cuda/CUDAContext.h>

#include <array>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "corda/core/error.h"
#include "corda/kernels/cross_entropy.h"
#include "corda/kernels/float8.h"
#include "corda/linalg/device.h"
#include "corda/linalg/out_of_memory.h"
#include "corda/model/attention_pass.h"
#include "train/low_rank_pass.h"
#include "train/memory_advice.h"
#include "train/sharded_pass.h"

namespace corda::train {

using core::concat;

namespace {

// What libraries take beside the pass: cuBLAS's and cuDNN's workspaces, fragments.
constexpr std::int64_t kMarginBytes = std::int64_t{1} << 30;

// What `auto` tries, from the fastest to the one that needs the least memory.
constexpr std::array<std::pair<Recompute, bool>, 4> kLadder = {{{Recompute::kNone, false},
                                                                {Recompute::kSelective, false},
                                                                {Recompute::kBlock, false},
                                                                {Recompute::kBlock, true}}};

// What one forward pass without gradients (corda/model/forward.h) needs: the widest block's
// intermediate results, and logits in both precisions.
std::int64_t evaluation_bytes(const model::ModelDescription& m, at::ScalarType type,
                              std::int64_t tokens) {
  const auto element = static_cast<std::int64_t>(c10::elementSize(type));
  constexpr std::int64_t kWide = 2 * sizeof(float);  // the same in fp32, and their log-softmax
  const std::int64_t logits = kernels::logit_rows(m.vocab_size) * m.vocab_size * (element + kWide);
  const std::int64_t qkv = m.attention.input.out_features();
  const std::int64_t repeated =
      model::repeats_heads(type, m.attention) ? 2 * m.attention.query_features() : 0;
  const std::int64_t columns =
      5 * m.hidden_size + 2 * qkv + 3 * m.feed_forward.intermediate + repeated;
  return element * tokens * columns + logits;
}

// What `auto` becomes with these options; the pass itself is not made.
ChosenPass fused(const LowRankPassOptions& options) {
  return {.pass = nullptr,
          .gradients = "fused",
          .recompute = name_of(options.recompute),
          .offload = options.offload ? "true" : "false"};
}

std::string advice(TrainSettings settings, at::Device device, const LowRankPassOptions& options,
                   const LargestBatches& largest) {
  fused(options).record_in(settings);
  return memory_advice(settings, device, largest.sample, largest.micro_batch);
}

std::string tuning_directory(const TrainSettings& settings) {
  const bool none = settings.tuning_cache == "auto" || settings.tuning_cache == "none";
  return none ? "" : settings.tuning_cache;
}

// Of the passes that the settings allow, the fastest one that fits. Where none seems to fit it is
// the smallest, with a warning, since the estimate may be too high.
LowRankPassOptions options_for(const TrainSettings& settings, const model::Model& model,
                               const LargestBatches& largest, core::Reporter& reporter) {
  const std::vector<LowRankPassOptions> allowed = allowed_options(settings, largest.micro_batch);
  if (!model.device().is_cuda()) return allowed.front();
  const std::int64_t beside = bytes_beside(model, largest);
  const std::int64_t room = linalg::free_memory_bytes(model.device()) - beside;
  for (const LowRankPassOptions& options : allowed) {
    if (low_rank_pass_bytes(model, options) <= room) return options;
  }
  const auto gigabytes = [](std::int64_t bytes) {
    return std::round(static_cast<double>(bytes) * 1e-8) / 10;
  };
  reporter.warn(concat("micro-batches of ", largest.micro_batch, " tokens need about ",
                       gigabytes(low_rank_pass_bytes(model, allowed.back()) + beside),
                       " GB beside the model, and ", gigabytes(room + beside), " GB are free; ",
                       advice(settings, model.device(), allowed.back(), largest)));
  return allowed.back();
}

std::unique_ptr<GradientPass> make_fitting(const TrainSettings& settings, model::Model& model,
                                           const LowRankPassOptions& options,
                                           const LargestBatches& largest) {
  try {
    return make_low_rank_pass(model, options);
  } catch (const std::exception& error) {
    const auto out = linalg::out_of_memory(error);
    if (!out) throw;
    throw core::ResourceError(
        concat(out->memory, " does not hold micro-batches of ", largest.micro_batch, " tokens; ",
               advice(settings, model.device(), options, largest), " (", out->detail, ")"));
  }
}

// Why the model cannot have the low-rank pass; completes the sentence "this run ...".
std::string obstacle_of(const model::Model& model) {
  for (const model::Linear* linear : model.linear_layers()) {
    if (linear->weight.requires_grad()) return "trains the model's own weights";
    if (!linear->low_rank) continue;
    if (linear->low_rank->magnitude.defined()) return "is a DoRA";
    if (linear->low_rank->dropout > 0) return concat("has dropout ", linear->low_rank->dropout);
  }
  return "computes in another precision than the weights have";
}

}  // namespace

void ChosenPass::record_in(TrainSettings& settings) const {
  settings.gradients = gradients;
  settings.recompute = recompute;
  settings.offload = offload;
}

std::vector<LowRankPassOptions> allowed_options(const TrainSettings& settings,
                                                std::int64_t tokens) {
  std::vector<LowRankPassOptions> allowed;
  for (const auto& [recompute, offload] : kLadder) {
    LowRankPassOptions options{.recompute = recompute, .offload = offload, .tokens = tokens};
    options.tuning_cache = tuning_directory(settings);
    options.float8 = settings.precision == "fp8";
    if (settings.graphs == "false") options.graphs = Graphs::kNever;
    if (settings.recompute != "auto") options.recompute = recompute_named(settings.recompute);
    if (settings.offload != "auto") options.offload = settings.offload == "true";
    allowed.push_back(options);
  }
  return allowed;
}

std::int64_t bytes_beside(const model::Model& model, const LargestBatches& largest) {
  const bool evaluates = largest.evaluated > 0;
  return kMarginBytes +
         (evaluates ? evaluation_bytes(model.config, model.compute, largest.evaluated) : 0);
}

bool splits_parameters(const TrainSettings& settings) {
  return settings.shard && settings.method == "full";
}

bool asks_for_codes(const TrainSettings& settings) {
  return settings.base == "nf4" || settings.base == "fp8";
}

bool asks_for_fused(const TrainSettings& settings) {
  const bool recomputes =
      settings.recompute != "auto" && settings.recompute != name_of(Recompute::kNone);
  return settings.gradients == "fused" || settings.offload == "true" ||
         settings.precision == "fp8" || (recomputes && !splits_parameters(settings));
}

bool method_can_be_fused(const TrainSettings& settings) {
  return settings.method != "full" && settings.method != "dora" && settings.lora.dropout <= 0;
}

std::string fused_refusal(const std::string& obstacle) {
  return concat(
      "'gradients: fused', 'recompute', 'offload' and 'precision: fp8' need a LoRA without dropout "
      "(method lora, pissa or corda); this run ",
      obstacle, "; leave these settings at auto");
}

void require_float8_layers(const model::Model& model) {
  if (float8_part(model).layers > 0) return;
  const model::Linear& first = *model.linear_layers().front();
  throw core::ConfigError(
      concat("'precision: fp8' multiplies in float8 where layers are multiples of 128 wide, and "
             "none of this model is ('",
             first.name, "' is ", first.weight.size(0), " x ", first.weight.size(1),
             "); use precision: bf16"));
}

void require_float8_gpu(const std::string& gpu, int major, int minor) {
  if (kernels::multiplies_float8(major, minor)) return;
  throw core::ConfigError(concat("'precision: fp8' needs a GPU of compute capability 8.9 (Ada, ",
                                 "Hopper) or newer, and '", gpu, "' has ", major, ".", minor,
                                 "; use precision: bf16"));
}

void check_pass_settings(const TrainSettings& settings, const model::Model& model,
                         at::Device device) {
  if (asks_for_fused(settings) && !supports_low_rank_pass(model))
    throw core::ConfigError(fused_refusal(obstacle_of(model)));
  if (settings.offload == "true" && !device.is_cuda())
    throw core::ConfigError("'offload: true' needs a GPU; this run is on the CPU");
  if (settings.precision == "fp8") require_float8_layers(model);
  if (settings.precision == "fp8" && device.is_cuda()) {
    const cudaDeviceProp& gpu = *at::cuda::getDeviceProperties(device.index());
    require_float8_gpu(gpu.name, gpu.major, gpu.minor);
  }
}

ChosenPass choose_pass(const TrainSettings& settings, model::Model& model,
                       const LargestBatches& largest, core::Reporter& reporter,
                       ShardedParameters* sharded) {
  const bool supported = supports_low_rank_pass(model);
  check_pass_settings(settings, model, model.device());
  if (settings.precision == "fp8" && !model.device().is_cuda())
    reporter.warn("precision fp8: the CPU imitates products in float8, which takes longer");
  ChosenPass chosen{.pass = nullptr,
                    .gradients = "autograd",
                    .recompute = name_of(Recompute::kNone),
                    .offload = "false"};
  const bool any = settings.gradients == "auto";
  if (supported && (any || settings.gradients == "fused")) {
    const LowRankPassOptions options = options_for(settings, model, largest, reporter);
    chosen = fused(options);
    chosen.pass = make_fitting(settings, model, options, largest);
  } else {
    const bool kernels = settings.gradients == "kernels" || (any && model.device().is_cuda());
    const auto operations = kernels ? model::Operations::kKernels : model::Operations::kAten;
    if (kernels) chosen.gradients = "kernels";
    if (sharded != nullptr) chosen.recompute = name_of(Recompute::kBlock);
    chosen.pass = sharded != nullptr ? make_sharded_pass(model, *sharded, operations)
                                     : make_autograd_pass(model, operations);
  }
  reporter.info(concat("gradients: ", chosen.pass->describe(), "; micro-batches of up to ",
                       largest.micro_batch, " tokens"));
  return chosen;
}

}  // namespace corda::train
