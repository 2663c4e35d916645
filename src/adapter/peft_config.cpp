// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "adapter/peft_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "corda/core/error.h"
#include "core/fields.h"

namespace corda::adapter {

using core::concat;
using core::FormatError;
using core::Json;

namespace {

constexpr std::int64_t kMaxRank = 1 << 20;

// Read below, or without influence on what the stored tensors mean.
constexpr std::array<std::string_view, 21> kUnderstood = {"peft_type",
                                                          "r",
                                                          "lora_alpha",
                                                          "lora_dropout",
                                                          "use_dora",
                                                          "use_rslora",
                                                          "bias",
                                                          "init_lora_weights",
                                                          "base_model_name_or_path",
                                                          "target_modules",
                                                          "task_type",
                                                          "inference_mode",
                                                          "peft_version",
                                                          "revision",
                                                          "auto_mapping",
                                                          "exclude_modules",
                                                          "megatron_core",
                                                          "qalora_group_size",
                                                          "loftq_config",
                                                          "eva_config",
                                                          "ensure_weight_tying"};
// These restrict which modules get an adapter; the tensors say that already.
constexpr std::array<std::string_view, 3> kSelection = {"layers_to_transform", "layers_pattern",
                                                        "runtime_config"};
// Initialisations that leave the base weights as they are.
constexpr std::array<std::string_view, 3> kPlainStarts = {"gaussian", "eva", "orthogonal"};

bool contains(const auto& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_off(const Json& value) {
  return value.is_null() || (value.is_boolean() && !value.get<bool>()) ||
         (value.is_structured() && value.empty());
}

std::string brief(const Json& value) {
  const std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() > 80 ? text.substr(0, 80) + "..." : text;
}

void refuse(const std::string& source, const std::string& key, const Json& value,
            std::string_view why) {
  throw FormatError(
      concat("'", source, "': the PEFT option '", key, "' = ", brief(value), " ", why));
}

void check_options(const Json& root, const std::string& source) {
  if (root.contains("bias") && root["bias"] != "none") {
    refuse(source, "bias", root["bias"],
           "trains biases, which corda does not read; only \"none\" is supported");
  }
  if (root.contains("init_lora_weights") && root["init_lora_weights"].is_string() &&
      !contains(kPlainStarts, root["init_lora_weights"].get<std::string>())) {
    refuse(source, "init_lora_weights", root["init_lora_weights"],
           "means that the adapter belongs to a residual model and not to the original base; save "
           "it again with "
           "path_initial_model_for_weight_conversion, which makes a plain LoRA of it");
  }
  for (const auto& [key, value] : root.items()) {
    if (contains(kUnderstood, key) || contains(kSelection, key) || key == "corda_config" ||
        is_off(value))
      continue;
    refuse(source, key, value,
           "is not supported: corda would compute something else than PEFT; train or convert the "
           "adapter without it");
  }
}

}  // namespace

Json to_json(const PeftConfig& config) {
  Json root;
  root["peft_type"] = "LORA";
  root["task_type"] = "CAUSAL_LM";
  root["base_model_name_or_path"] =
      config.base_name.empty() ? Json(nullptr) : Json(config.base_name);
  root["r"] = config.rank;
  const auto whole = static_cast<std::int64_t>(config.alpha);
  if (static_cast<double>(whole) == config.alpha) {
    root["lora_alpha"] = whole;
  } else {
    root["lora_alpha"] = config.alpha;
  }
  root["lora_dropout"] = config.dropout;
  root["target_modules"] = config.target_modules;
  root["use_dora"] = config.use_dora;
  root["use_rslora"] = false;
  root["bias"] = "none";
  root["fan_in_fan_out"] = false;
  root["inference_mode"] = true;
  root["init_lora_weights"] = true;
  root["modules_to_save"] = nullptr;
  root["rank_pattern"] = Json::object();
  root["alpha_pattern"] = Json::object();
  return root;
}

PeftConfig read_peft_config(const fs::path& directory) {
  const fs::path path = directory / "adapter_config.json";
  if (!fs::exists(path)) {
    const fs::path inside = directory / "adapter";
    throw core::IoError(concat("'", directory.string(), "' is not an adapter directory: ",
                               core::why_absent(directory, "adapter_config.json"),
                               fs::exists(inside / "adapter_config.json")
                                   ? concat("; did you mean '", inside.string(), "'?")
                                   : std::string()));
  }
  const std::string source = path.string();
  const Json root = core::read_json(path);
  const core::Fields fields(root, concat("'", source, "'"));
  if (const std::string type = fields.text("peft_type"); type != "LORA")
    fields.fail(concat("only peft_type LORA can be read; it is \"", type, "\""));
  check_options(root, source);
  const auto flag = [&](const char* key) { return fields.has(key) && fields.boolean(key); };
  PeftConfig config;
  config.rank = fields.integer("r", 1, kMaxRank);
  config.alpha = fields.number("lora_alpha");
  if (flag("use_rslora")) config.alpha *= std::sqrt(static_cast<double>(config.rank));
  if (fields.has("lora_dropout")) config.dropout = fields.number("lora_dropout");
  config.use_dora = flag("use_dora");
  if (fields.has("base_model_name_or_path"))
    config.base_name = fields.text("base_model_name_or_path");
  if (root.contains("target_modules") && root["target_modules"].is_array())
    config.target_modules = fields.texts("target_modules");
  return config;
}

}  // namespace corda::adapter
