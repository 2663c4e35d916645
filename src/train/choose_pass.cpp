// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/choose_pass.h"

#include <array>
#include <string>
#include <vector>

#include "corda/core/error.h"
#include "corda/linalg/device.h"

namespace corda::train {

using core::concat;

namespace {

// What libraries take beside the pass: cuBLAS's and cuDNN's workspaces, fragments.
constexpr std::int64_t kMarginBytes = std::int64_t{1} << 30;

// From the fastest to the smallest.
constexpr std::array<LowRankPassOptions, 4> kLadder = {{{Recompute::kNone, false},
                                                        {Recompute::kSelective, false},
                                                        {Recompute::kBlock, false},
                                                        {Recompute::kBlock, true}}};

Recompute recompute_named(const std::string& name) {
  if (name == "none") return Recompute::kNone;
  return name == "selective" ? Recompute::kSelective : Recompute::kBlock;
}

// The fastest that fits, of those that the settings allow; the smallest where none does, since the
// estimate may be too high.
LowRankPassOptions options_for(const TrainSettings& settings, model::Model& model,
                               std::int64_t tokens) {
  std::vector<LowRankPassOptions> allowed;
  for (LowRankPassOptions options : kLadder) {
    if (settings.recompute != "auto") options.recompute = recompute_named(settings.recompute);
    if (settings.offload != "auto") options.offload = settings.offload == "true";
    allowed.push_back(options);
  }
  if (!model.device().is_cuda()) return allowed.front();
  std::int64_t gradients = 0;  // the pass allocates them
  for (const model::Linear* linear : model.projections()) {
    if (linear->low_rank)
      gradients += 4 * (linear->low_rank->a.numel() + linear->low_rank->b.numel());
  }
  const std::int64_t room = linalg::free_memory_bytes(model.device()) - gradients - kMarginBytes;
  for (const LowRankPassOptions& options : allowed) {
    if (low_rank_pass_bytes(model, options, tokens) <= room) return options;
  }
  return allowed.back();
}

}  // namespace

std::unique_ptr<GradientPass> choose_pass(const TrainSettings& settings, model::Model& model,
                                          std::int64_t tokens, core::Reporter& reporter) {
  const bool supported = supports_low_rank_pass(model);
  const bool asked = settings.gradients == "fused" || settings.offload == "true" ||
                     settings.recompute == "selective" || settings.recompute == "block";
  if (asked && !supported) {
    throw core::ConfigError(
        concat("'gradients: fused', 'recompute' and 'offload' need a LoRA without dropout (method "
               "lora, pissa "
               "or corda); this run has method ",
               settings.method, ", lora.dropout ", settings.lora.dropout,
               "; leave these settings at auto"));
  }
  if (settings.offload == "true" && !model.device().is_cuda())
    throw core::ConfigError("'offload: true' needs a GPU; this run is on the CPU");
  std::unique_ptr<GradientPass> pass =
      supported && settings.gradients != "autograd"
          ? make_low_rank_pass(model, options_for(settings, model, tokens))
          : make_autograd_pass(model);
  reporter.info(
      concat("gradients: ", pass->describe(), "; micro-batches of up to ", tokens, " tokens"));
  return pass;
}

}  // namespace corda::train
