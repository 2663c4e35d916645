// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/choose_pass.h"

#include <array>
#include <utility>

#include "corda/core/error.h"
#include "corda/linalg/device.h"

namespace corda::train {

using core::concat;

namespace {

constexpr std::array<std::pair<const char*, Recompute>, 3> kRecomputes = {
    {{"none", Recompute::kNone},
     {"selective", Recompute::kSelective},
     {"block", Recompute::kBlock}}};

// What libraries take beside the pass: cuBLAS's and cuDNN's workspaces, fragments.
constexpr std::int64_t kMarginBytes = std::int64_t{1} << 30;

// The fastest that fits; the last where none does, since the estimate may be too high.
Recompute fastest_that_fits(model::Model& model, std::int64_t tokens) {
  if (!model.device().is_cuda()) return Recompute::kNone;
  std::int64_t gradients = 0;  // the pass allocates them
  for (const model::Linear* linear : model.projections()) {
    if (linear->low_rank)
      gradients += 4 * (linear->low_rank->a.numel() + linear->low_rank->b.numel());
  }
  const std::int64_t room = linalg::free_memory_bytes(model.device()) - gradients - kMarginBytes;
  for (const auto& [name, recompute] : kRecomputes) {
    if (low_rank_pass_bytes(model, recompute, tokens) <= room) return recompute;
  }
  return Recompute::kBlock;
}

Recompute recompute_of(const TrainSettings& settings, model::Model& model, std::int64_t tokens) {
  for (const auto& [name, recompute] : kRecomputes) {
    if (settings.recompute == name) return recompute;
  }
  return fastest_that_fits(model, tokens);
}

}  // namespace

std::unique_ptr<GradientPass> choose_pass(const TrainSettings& settings, model::Model& model,
                                          std::int64_t tokens, core::Reporter& reporter) {
  const bool supported = supports_low_rank_pass(model);
  const bool asked = settings.gradients == "fused" ||
                     (settings.recompute != "auto" && settings.recompute != "none");
  if (asked && !supported) {
    throw core::ConfigError(
        concat("'gradients: fused' and 'recompute' need a LoRA without dropout (method lora, pissa "
               "or corda); this run has method ",
               settings.method, ", lora.dropout ", settings.lora.dropout,
               "; set gradients to auto and recompute to none"));
  }
  std::unique_ptr<GradientPass> pass =
      supported && settings.gradients != "autograd"
          ? make_low_rank_pass(model, recompute_of(settings, model, tokens))
          : make_autograd_pass(model);
  reporter.info(
      concat("gradients: ", pass->describe(), "; micro-batches of up to ", tokens, " tokens"));
  return pass;
}

}  // namespace corda::train
