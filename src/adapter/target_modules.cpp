// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "adapter/target_modules.h"

#include <algorithm>

#include "corda/core/error.h"
#include "corda/core/text.h"

namespace corda::adapter {

using core::concat;
using core::ConfigError;

namespace {

bool is_all_linear(const std::string& target) { return core::to_lower_ascii(target) == kAllLinear; }

// Whether `target` is the module's name or the end of it, whole parts.
bool names(const std::string& target, const std::string& module) {
  return module == target || module.ends_with("." + target);
}

// The last name parts of modules, each once in their order.
std::vector<std::string> leaves_of(const std::vector<std::string>& modules) {
  std::vector<std::string> leaves;
  for (const auto& module : modules) {
    std::string leaf(core::last_part(module));
    if (std::find(leaves.begin(), leaves.end(), leaf) == leaves.end())
      leaves.push_back(std::move(leaf));
  }
  return leaves;
}

bool is_outside_the_blocks(const std::string& target) {
  return names("lm_head", target) || names("embed_tokens", target);
}

constexpr const char* kNoneOutside = "; the head and the embedding get no adapter";

void refuse_unknown(const std::string& setting, const std::string& target,
                    const std::vector<std::string>& layers) {
  const std::vector<std::string> leaves = leaves_of(layers);
  std::vector<std::string> words = leaves;
  words.emplace_back(kAllLinear);
  const bool is_pattern = target.find_first_of("*|()[]\\^$") != std::string::npos;
  throw ConfigError(concat(setting, ": no layer of the model's blocks is named '", target, "'",
                           core::suggestion(core::last_part(target), words), "; they end in ",
                           core::listed(leaves), ", and '", kAllLinear, "' means all of them",
                           is_outside_the_blocks(target) ? kNoneOutside : "",
                           is_pattern ? "; names are given here, no patterns" : ""));
}

}  // namespace

std::vector<std::string> expand_targets(const std::string& setting,
                                        const std::vector<std::string>& targets,
                                        const std::vector<std::string>& layers) {
  if (std::none_of(targets.begin(), targets.end(), is_all_linear)) return targets;
  std::vector<std::string> others = targets;
  std::erase_if(others, is_all_linear);
  if (others.empty()) return leaves_of(layers);
  const bool outside = std::any_of(others.begin(), others.end(), is_outside_the_blocks);
  throw ConfigError(concat(setting, ": '", kAllLinear,
                           "' means every linear layer of the blocks, so it stands alone; it is "
                           "given with ",
                           core::listed_names(others), outside ? kNoneOutside : ""));
}

std::vector<std::string> select_targets(const std::string& setting,
                                        const std::vector<std::string>& targets,
                                        const std::vector<std::string>& layers) {
  std::vector<bool> chosen(layers.size(), false);
  for (const auto& target : expand_targets(setting, targets, layers)) {
    bool found = false;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      if (!names(target, layers[i])) continue;
      chosen[i] = true;
      found = true;
    }
    if (!found) refuse_unknown(setting, target, layers);
  }
  std::vector<std::string> selected;
  for (std::size_t i = 0; i < layers.size(); ++i)
    if (chosen[i]) selected.push_back(layers[i]);
  return selected;
}

}  // namespace corda::adapter
