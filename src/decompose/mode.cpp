// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/decompose/mode.h"

#include <algorithm>
#include <array>

#include "decompose/mode_of.h"
#include "decompose/starts.h"

namespace corda::decompose {

namespace {

constexpr std::array<Mode, 10> kModes = {{
    {.name = "kpa",
     .method = "corda",
     .what = "keeps knowledge: the components that it uses least (PEFT's kpm)",
     .input = Input::kKnowledge,
     .subtracts_start = true,
     .takes_largest = false,
     .is_of_product = true,
     .own_settings = {"damping"},
     .prepare = prepare_damped,
     .start = start_kpa},
    {.name = "ipa",
     .method = "corda",
     .what = "learns the task best: the components that it uses most (PEFT's ipm)",
     .input = Input::kTask,
     .subtracts_start = true,
     .is_of_product = true,
     .own_settings = {"damping"},
     .prepare = prepare_damped,
     .start = start_ipa},
    {.name = "dual",
     .method = "corda",
     .what = "both: inputs with the most task for each unit of knowledge",
     .input = Input::kBoth,
     .reads_weight = false,
     .trains_a = false,
     .has_singular_values = false,
     .takes_gradients = true,
     .own_settings = {"damping"},
     .prepare = prepare_ratio,
     .start = start_dual},
    {.name = "null",
     .method = "corda",
     .what = "LoRA-Null: the inputs that knowledge uses least",
     .input = Input::kKnowledge,
     .trains_a = false,
     .has_singular_values = false,
     .takes_largest = false,
     .prepare = prepare_least,
     .start = start_null},
    {.name = "sc",
     .method = "corda",
     .what = "SC-LoRA: outputs with more task than knowledge",
     .input = Input::kBoth,
     .subtracts_start = true,
     .has_singular_values = false,
     .own_settings = {"beta"},
     .prepare = prepare_both,
     .start = start_sc},
    {.name = "eva",
     .method = "corda",
     .what = "EVA: the inputs that the task uses most",
     .input = Input::kTask,
     .reads_weight = false,
     .has_singular_values = false,
     .centres = true,
     .own_settings = {"center"},
     .ranks = "explained",
     .prepare = prepare_largest,
     .start = start_eva},
    {.name = "milora",
     .method = "corda",
     .what = "MiLoRA: the weight's smallest components",
     .subtracts_start = true,
     .takes_largest = false,
     .start = start_milora},
    {.name = "mica",
     .method = "corda",
     .what = "MiCA: outputs of the weight's smallest components, B frozen",
     .trains_b = false,
     .takes_largest = false,
     .start = start_mica},
    {.name = "cloq",
     .method = "corda",
     .what = "CLoQ: what a base in 4 or 8 bits (--base) loses most of in its outputs",
     .input = Input::kTask,
     .corrects_base = true,
     .has_singular_values = false,
     .own_settings = {"damping", "base"},
     .prepare = prepare_damped,
     .start = start_cloq},
    {.name = "",
     .method = "pissa",
     .what = "PiSSA: the weight's largest components",
     .subtracts_start = true,
     .start = start_pissa},
}};

}  // namespace

std::span<const Mode> modes() { return kModes; }

const Mode& mode_of(const DecomposeSettings& settings) {
  const std::string name = settings.method == "pissa" ? "" : settings.mode;
  return *std::find_if(kModes.begin(), kModes.end(), [&](const Mode& mode) {
    return mode.name == name && mode.method == settings.method;
  });
}

std::string ranks_of(const DecomposeSettings& settings) {
  return settings.ranks == "auto" ? std::string(mode_of(settings).ranks) : settings.ranks;
}

std::string title_of(const Mode& mode) {
  return mode.name.empty() ? "method " + std::string(mode.method)
                           : "mode " + std::string(mode.name);
}

}  // namespace corda::decompose
