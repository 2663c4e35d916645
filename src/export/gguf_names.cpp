// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "export/gguf_names.h"

#include <array>
#include <utility>
#include <vector>

#include "corda/core/error.h"
#include "corda/core/text.h"

namespace corda::exports {

using core::concat;

namespace {

const std::vector<GgufFamily>& families() {
  static const std::vector<GgufFamily> kFamilies = {
      {"llama", "llama", true},     {"mistral", "llama", true},  {"granite", "granite", true},
      {"smollm3", "smollm3", true}, {"qwen2", "qwen2", false},   {"qwen3", "qwen3", false},
      {"gemma", "gemma", false},    {"gemma2", "gemma2", false}, {"gemma3_text", "gemma3", false},
      {"phi3", "phi3", false},      {"olmo2", "olmo2", false},   {"glm4", "glm4", false},
  };
  return kFamilies;
}

constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kLayers = {{
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.qkv_proj", "attn_qkv"},
    {"self_attn.o_proj", "attn_output"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.gate_up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
}};

}  // namespace

GgufFamily gguf_family(const std::string& model_type) {
  std::vector<std::string> names;
  for (const GgufFamily& family : families()) {
    if (family.model_type == model_type) return family;
    names.push_back(family.model_type);
  }
  throw core::ConfigError(concat("a GGUF adapter of the family '", model_type,
                                 "' is not written; the families are ", core::join(names, ", "),
                                 "; merge the adapter and convert the model instead"));
}

std::string gguf_name(const std::string& module, const model::ModelDescription& model) {
  if (module == "lm_head") return "output.weight";
  for (std::int64_t i = 0; i < model.num_layers(); ++i) {
    const std::string block = model.block_name(i) + ".";
    if (!module.starts_with(block)) continue;
    for (const auto& [name, there] : kLayers)
      if (module.substr(block.size()) == name) return concat("blk.", i, ".", there, ".weight");
  }
  throw core::ConfigError(concat("the layer '", module,
                                 "' has no name in llama.cpp that corda "
                                 "knows; merge the adapter and convert the model instead"));
}

}  // namespace corda::exports
