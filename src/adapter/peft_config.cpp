// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "adapter/peft_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "core/fields.h"

namespace corda::adapter {

using core::concat;
using core::FormatError;
using core::Json;

namespace {

constexpr std::int64_t kMaxRank = 1 << 20;

// The keys that are read, here or in module_selection.cpp.
constexpr std::array<std::string_view, 15> kRead = {"peft_type",
                                                    "r",
                                                    "lora_alpha",
                                                    "rank_pattern",
                                                    "alpha_pattern",
                                                    "use_rslora",
                                                    "use_dora",
                                                    "lora_dropout",
                                                    "bias",
                                                    "init_lora_weights",
                                                    "base_model_name_or_path",
                                                    "target_modules",
                                                    "exclude_modules",
                                                    "layers_to_transform",
                                                    "layers_pattern"};
// These keys do not change what the stored tensors mean for a linear layer. They are notes, or
// settings of a start that is over (init_lora_weights says which); fan_in_fan_out PEFT sets back
// for such layers.
constexpr std::array<std::string_view, 15> kWithoutEffect = {
    "task_type",      "inference_mode",      "peft_version",   "revision",      "auto_mapping",
    "megatron_core",  "qalora_group_size",   "loftq_config",   "eva_config",    "corda_config",
    "lora_ga_config", "ensure_weight_tying", "runtime_config", "merge_weights", "fan_in_fan_out"};
// Initialisations that leave the base weights as they are, and those that change them.
constexpr std::array<std::string_view, 4> kPlainStarts = {"gaussian", "eva", "orthogonal", "mica"};
constexpr std::array<std::string_view, 5> kResidualStarts = {"pissa", "olora", "corda", "loftq",
                                                             "lora_ga"};

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

void check_start(const Json& start, const std::string& source) {
  if (start.is_boolean() || start.is_null()) return;
  const std::string name =
      start.is_string() ? core::to_lower_ascii(start.get<std::string>()) : std::string();
  if (contains(kPlainStarts, name)) return;
  const bool residual = contains(kResidualStarts, name) || name.starts_with("pissa_niter_");
  refuse(source, "init_lora_weights", start,
         residual ? "means that the adapter belongs to a residual model and not to the original "
                    "base; save it again with path_initial_model_for_weight_conversion, which "
                    "makes a plain LoRA of it"
                  : "is not known; whether the base was changed with it cannot be told");
}

void check_options(const Json& root, const std::string& source) {
  if (root.contains("bias") && root["bias"] != "none") {
    refuse(source, "bias", root["bias"],
           "trains biases, which corda does not read; only \"none\" is supported");
  }
  if (root.contains("init_lora_weights")) check_start(root["init_lora_weights"], source);
  for (const auto& [key, value] : root.items()) {
    if (contains(kRead, key) || contains(kWithoutEffect, key) || is_off(value)) continue;
    refuse(source, key, value,
           "is not supported: corda would compute something else than PEFT; train or convert the "
           "adapter without it");
  }
}

// The members of rank_pattern or alpha_pattern; `value_of(fields, key)` reads and checks one.
template <typename Value, typename Read>
std::vector<PeftConfig::Exception<Value>> read_exceptions(const Json& root, const char* key,
                                                          const std::string& source, Read read) {
  std::vector<PeftConfig::Exception<Value>> result;
  if (!root.contains(key) || root.at(key).is_null()) return result;
  const std::string where = concat("'", source, "': '", key, "'");
  const core::Fields fields(root.at(key), where);
  for (const auto& [pattern, value] : root.at(key).items())
    result.push_back({pattern, read(fields, pattern.c_str()), NamePattern::suffix(pattern, where)});
  return result;
}

template <typename Value>
const Value* find_exception(const std::vector<PeftConfig::Exception<Value>>& exceptions,
                            const std::string& module) {
  const auto found = std::find_if(exceptions.begin(), exceptions.end(), [&](const auto& exception) {
    return exception.matcher && exception.matcher->matches(module);
  });
  return found == exceptions.end() ? nullptr : &found->value;
}

// Writes a whole number without a point, as PEFT does, where a double is sure to hold it.
Json number_json(double value) {
  if (std::abs(value) < 1e15 && std::trunc(value) == value) return static_cast<std::int64_t>(value);
  return value;
}

}  // namespace

Json to_json(const PeftConfig& config) {
  Json root;
  root["peft_type"] = "LORA";
  root["task_type"] = "CAUSAL_LM";
  root["base_model_name_or_path"] =
      config.base_name.empty() ? Json(nullptr) : Json(config.base_name);
  root["r"] = config.rank;
  root["lora_alpha"] = number_json(config.alpha);
  root["lora_dropout"] = config.dropout;
  root["target_modules"] = config.target_modules;
  if (!config.exclude_modules.empty()) root["exclude_modules"] = config.exclude_modules;
  root["use_dora"] = config.use_dora;
  root["use_rslora"] = config.use_rslora;
  root["bias"] = "none";
  root["fan_in_fan_out"] = false;
  root["inference_mode"] = true;
  root["init_lora_weights"] = true;
  root["modules_to_save"] = nullptr;
  root["rank_pattern"] = Json::object();
  for (const auto& rank : config.ranks) root["rank_pattern"][rank.pattern] = rank.value;
  root["alpha_pattern"] = Json::object();
  for (const auto& alpha : config.alphas)
    root["alpha_pattern"][alpha.pattern] = number_json(alpha.value);
  root["layers_to_transform"] =
      config.layers_to_transform.empty() ? Json(nullptr) : Json(config.layers_to_transform);
  return root;
}

double PeftConfig::scaling_alpha(double lora_alpha, std::int64_t for_rank) const {
  return use_rslora ? lora_alpha * std::sqrt(static_cast<double>(for_rank)) : lora_alpha;
}

std::int64_t PeftConfig::rank_of(const std::string& module) const {
  const std::int64_t* own = find_exception(ranks, module);
  return own != nullptr ? *own : rank;
}

double PeftConfig::alpha_of(const std::string& module) const {
  const double* own = find_exception(alphas, module);
  return scaling_alpha(own != nullptr ? *own : alpha, rank_of(module));
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
  if (!fields.has("peft_type")) {
    throw FormatError(concat("'", source, "' has no 'peft_type', so it is not PEFT's",
                             fields.has("lora_parameters")
                                 ? "; with 'lora_parameters' it is MLX's: convert the adapter"
                                 : "; convert the adapter to PEFT's files"));
  }
  if (const std::string type = fields.text("peft_type"); type != "LORA")
    fields.fail(concat("only peft_type LORA can be read; it is \"", type, "\""));
  check_options(root, source);
  const auto flag = [&](const char* key) { return fields.has(key) && fields.boolean(key); };
  PeftConfig config;
  config.rank = fields.integer("r", 1, kMaxRank);
  config.alpha = fields.number("lora_alpha");
  config.use_rslora = flag("use_rslora");
  config.ranks = read_exceptions<std::int64_t>(root, "rank_pattern", source,
                                               [](const core::Fields& ranks, const char* pattern) {
                                                 return ranks.integer(pattern, 1, kMaxRank);
                                               });
  config.alphas = read_exceptions<double>(
      root, "alpha_pattern", source,
      [](const core::Fields& alphas, const char* pattern) { return alphas.number(pattern); });
  if (fields.has("lora_dropout")) config.dropout = fields.number("lora_dropout");
  config.use_dora = flag("use_dora");
  if (fields.has("base_model_name_or_path"))
    config.base_name = fields.text("base_model_name_or_path");
  config.selection = ModuleSelection(root, source);
  return config;
}

}  // namespace corda::adapter
