// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <fstream>

#include "corda/card/evaluations.h"
#include "corda/core/config_node.h"
#include "corda/core/refuse_changed.h"
#include "corda/core/text.h"
#include "inspect/facts.h"

namespace corda::inspect {

using core::concat;
using core::ConfigNode;
using core::Json;

namespace {

std::string text_at(const ConfigNode& root, std::string_view key) {
  const ConfigNode* node = root.find(key);
  return node == nullptr ? "" : node->text;
}

// What metrics.jsonl says of all steps; its last line may be cut off where a run was killed.
void add_metrics(Json& facts, const fs::path& path, bool with_best) {
  std::ifstream file(path);
  std::int64_t tokens = 0;
  std::int64_t supervised = 0;
  Json last;
  Json evaluated;
  for (std::string line; std::getline(file, line);) {
    const Json step = Json::parse(line, nullptr, false);
    if (!step.is_object() || !step.contains("step")) continue;
    tokens += step.value("tokens", std::int64_t{0});
    supervised += step.value("supervised_tokens", std::int64_t{0});
    if (step.contains("eval_loss")) evaluated = step;
    if (step.contains("forgetting")) facts["forgetting"] = step["forgetting"];
    last = step;
  }
  facts["steps"] = last.is_null() ? Json(0) : last["step"];
  if (last.is_null()) return;
  for (const char* key : {"epoch", "loss", "lr", "tokens_per_second", "peak_memory_bytes"})
    if (last.contains(key)) facts[key] = last[key];
  if (!evaluated.is_null()) {
    facts["eval_loss"] = evaluated["eval_loss"];
    facts["eval_step"] = evaluated["step"];
  }
  if (const auto best = card::read_evaluations(path).lowest; with_best && best) {
    facts["best_step"] = best->step;
    facts["best_eval_loss"] = best->loss;
  }
  facts["tokens"] = tokens;
  facts["supervised_tokens"] = supervised;
}

std::vector<std::string> checkpoints_in(const fs::path& run) {
  std::vector<std::pair<std::int64_t, std::string>> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints", ignored)) {
    const std::string name = entry.path().filename().string();
    const auto step = name.starts_with("step-") ? core::parse_int(name.substr(5)) : std::nullopt;
    if (step && fs::exists(entry.path() / "state.json")) found.emplace_back(*step, name);
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> names;
  for (auto& [step, name] : found) names.push_back(std::move(name));
  return names;
}

}  // namespace

Json run_facts(const InspectSettings& settings, core::Reporter& reporter) {
  const fs::path run = settings.path;
  const fs::path config = run / "config.resolved.yaml";
  const ConfigNode root = core::parse_yaml(core::read_file(config), config.string());
  const std::string method = text_at(root, "method");
  const fs::path result = run / (method == "full" ? "model" : "adapter");
  Json facts = {{"kind", "run"},
                {"path", settings.path},
                {"method", method},
                {"model", text_at(root, "model")},
                {"finished", fs::exists(result)}};
  if (const std::string start = text_at(root, "adapter"); !start.empty())
    facts["started_from"] = start;
  add_metrics(facts, run / "metrics.jsonl", card::keeps_best(root));
  facts["checkpoints"] = checkpoints_in(run);
  if (!fs::exists(result)) {
    if (settings.covariance.empty()) return facts;
    throw core::ConfigError(concat("--covariance: the run '", settings.path,
                                   "' has no result yet; with gauge.covariance its metrics.jsonl "
                                   "has the gauge while it trains"));
  }
  InspectSettings inner = settings;
  inner.path = result.string();
  refuse_unused(inner, method == "full" ? Kind::kModel : Kind::kAdapter);
  // The gauge of a result may need the base.
  if (!settings.covariance.empty() && inner.model.empty() && method != "lora")
    inner.model = text_at(root, "model");
  facts["result"] =
      method == "full" ? model_facts(inner, reporter) : adapter_facts(inner, reporter);
  return facts;
}

}  // namespace corda::inspect
