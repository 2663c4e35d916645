// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What a card says, read from the files of the base and of the run.
#include <algorithm>
#include <system_error>

#include "corda/card/card.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/hub_cache.h"
#include "corda/core/text.h"

namespace corda::card {

using core::ConfigNode;

namespace {

constexpr std::int64_t kLargestCard = 1 << 20;

// The YAML between the two lines "---" that a card begins with; a null node where there is none.
ConfigNode front_matter(const fs::path& directory) {
  try {
    const std::string text = core::read_file(directory / "README.md", kLargestCard);
    const auto lines = core::split(text, '\n');
    if (lines.empty() || core::trim(lines.front()) != "---") return {};
    std::string yaml;
    for (std::size_t i = 1; i < lines.size(); ++i) {
      if (core::trim(lines[i]) == "---") return core::parse_yaml(yaml, "README.md");
      yaml += lines[i] + "\n";
    }
  } catch (const core::Error&) {  // absent, too large, or no YAML
  }
  return {};
}

// One line of printable text, or "": what a stranger's file says goes into another file.
std::string text_at(const ConfigNode& map, std::string_view key) {
  const ConfigNode* node = map.find(key);
  if (node == nullptr || node->kind != ConfigNode::Kind::kScalar) return "";
  const bool plain = std::all_of(node->text.begin(), node->text.end(),
                                 [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
  return plain && node->text.size() <= 300 ? node->text : "";
}

std::vector<std::string> texts_at(const ConfigNode& map, std::string_view key) {
  std::vector<std::string> result;
  if (const std::string one = text_at(map, key); !one.empty()) return {one};
  if (const ConfigNode* node = map.find(key)) {
    for (const ConfigNode& item : node->items)
      if (item.kind == ConfigNode::Kind::kScalar) result.push_back(item.text);
  }
  return result;
}

void read_license(const ConfigNode& card, Base& base) {
  base.license = text_at(card, "license");
  base.license_name = text_at(card, "license_name");
  base.license_link = text_at(card, "license_link");
  base.languages = texts_at(card, "language");
}

// The settings that a directory of calibrate or decompose was made with; a null node where it has
// none, as an adapter of others.
ConfigNode settings_in(const fs::path& directory) {
  try {
    const fs::path file = directory / "settings.resolved.yaml";
    return core::parse_yaml(core::read_file(file, kLargestCard), file.string());
  } catch (const core::Error&) {
    return {};
  }
}

fs::path without_slash(const fs::path& path) {
  const fs::path whole = fs::absolute(path).lexically_normal();
  return whole.has_filename() ? whole : whole.parent_path();
}

}  // namespace

Base base_of(const fs::path& model) {
  Base base;
  const fs::path folder = without_slash(model);
  const std::string name = core::hub_name_of(folder.string());
  base.on_hub = name != folder.string();
  base.name = base.on_hub ? name : folder.filename().string();
  read_license(front_matter(folder), base);
  return base;
}

Base base_in_card(const fs::path& adapter) {
  Base base;
  const ConfigNode card = front_matter(adapter);
  const auto names = texts_at(card, "base_model");
  if (names.empty()) return base;
  base.name = names.front();
  base.on_hub = true;  // the key is for names of the hub
  read_license(card, base);
  return base;
}

Start start_of(const fs::path& directory) {
  const ConfigNode settings = settings_in(directory);
  Start start{.data = texts_at(settings, "data"), .task_data = texts_at(settings, "task_data")};
  for (const auto& covariance : texts_at(settings, "covariance")) {
    const auto data = texts_at(settings_in(covariance), "data");
    start.data.insert(start.data.end(), data.begin(), data.end());
  }
  if (const std::string covariance = text_at(settings, "task_covariance"); !covariance.empty())
    start.task_data = texts_at(settings_in(covariance), "data");
  return start;
}

std::optional<Run> run_of(const fs::path& result) {
  const fs::path run = without_slash(result).parent_path();
  const fs::path settings = run / "config.resolved.yaml";
  std::error_code ignored;
  if (!fs::is_regular_file(settings, ignored)) return std::nullopt;
  Run found;
  try {
    found.settings = core::parse_yaml(core::read_file(settings), settings.string());
    const Evaluations evaluations = read_evaluations(run / "metrics.jsonl");
    found.steps = evaluations.steps;
    found.evaluation = keeps_best(found.settings) ? evaluations.lowest : evaluations.last;
  } catch (const core::Error&) {
  }
  if (found.settings.kind != ConfigNode::Kind::kMap) return std::nullopt;
  if (const std::string adapter = text_at(found.settings, "adapter"); !adapter.empty())
    found.start = start_of(adapter);
  return found;
}

}  // namespace corda::card
