// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/card/evaluations.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "corda/core/file.h"
#include "corda/core/text.h"
#include "core/json.h"

namespace corda::card {

namespace {

std::int64_t step_of(const core::Json& metrics) {
  const auto step = metrics.find("step");
  return step != metrics.end() && step->is_number_integer() ? step->get<std::int64_t>() : 0;
}

std::string data_of(const core::Json& metrics) {
  const auto data = metrics.find("eval_data");
  return data != metrics.end() && data->is_string() ? data->get<std::string>() : "";
}

}  // namespace

Evaluations read_evaluations(const std::filesystem::path& metrics) {
  Evaluations found;
  std::string data;  // that these are of; older runs do not say it
  std::vector<Evaluation> evaluated;
  for (const auto& line : core::split(core::read_file(metrics), '\n')) {
    const core::Json row = core::Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!row.is_object() || step_of(row) < 1) continue;
    found.steps = step_of(row);
    while (!evaluated.empty() && evaluated.back().step >= found.steps) evaluated.pop_back();
    const auto loss = row.find("eval_loss");
    if (loss == row.end() || !loss->is_number()) continue;
    const std::string own = data_of(row);
    if (!data.empty() && !own.empty() && own != data) evaluated.clear();
    if (!own.empty()) data = own;
    evaluated.push_back({.step = found.steps, .loss = loss->get<double>()});
  }
  if (evaluated.empty()) return found;
  found.last = evaluated.back();
  found.lowest = *std::min_element(evaluated.begin(), evaluated.end(),
                                   [](const auto& a, const auto& b) { return a.loss < b.loss; });
  return found;
}

bool keeps_best(const core::ConfigNode& settings) {
  const auto at = [&](std::string_view group, std::string_view key) {
    const core::ConfigNode* node = settings.find(group);
    node = node == nullptr ? nullptr : node->find(key);
    return node == nullptr ? std::string() : node->text;
  };
  return at("checkpoint", "best") == "true" ||
         core::parse_int(at("eval", "patience")).value_or(0) > 0;
}

}  // namespace corda::card
