// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "study/named_settings.h"

#include <utility>

namespace corda::study {

using core::concat;
using Kind = core::ConfigNode::Kind;

core::Setting node_setting(std::string name, core::ConfigNode& member, std::string help) {
  core::Setting setting{.name = name, .help = std::move(help), .type = "map"};
  setting.read = [name = std::move(name), &member](const core::ConfigNode& node) {
    if (node.kind != Kind::kMap && node.kind != Kind::kNull)
      throw core::ConfigError(concat(node.place(), "'", name, "' must be a map"));
    member = node;
  };
  setting.write = [&member] { return member; };
  return setting;
}

void read_named(const core::SettingsList& list, const core::ConfigNode& node,
                const std::map<std::string, std::string>& own, const ExpandPaths& expand) {
  for (const auto& [name, value] : own) {
    if (const core::ConfigNode* given = node.find(name); given != nullptr) {
      throw core::ConfigError(
          concat(given->place(), "'", name, "' is given by the study; leave it out here"));
    }
  }
  list.read(node);
  if (expand) expand(list);
  for (const auto& [name, value] : own) list.set(name, core::ConfigNode::scalar(value));
  list.check_required();
}

}  // namespace corda::study
