// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Settings of a verb that stand under a name in a study's file.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "corda/core/config_node.h"
#include "corda/core/error.h"
#include "corda/core/settings.h"
#include "corda/core/text.h"
#include "corda/study/compare.h"

namespace corda::study {

// A setting that is a map of its own; who uses it reads it.
core::Setting node_setting(std::string name, core::ConfigNode& member, std::string help);

// Reads `node` into a verb's list. `own` are the settings that the study gives instead; the node
// may not have them. Paths are expanded but for those. Throws ConfigError.
void read_named(const core::SettingsList& list, const core::ConfigNode& node,
                const std::map<std::string, std::string>& own, const ExpandPaths& expand);

// Does `work`; every line of a ConfigError becomes a problem of `where`.
template <typename Work>
void collect(std::vector<std::string>& problems, const std::string& where, const Work& work) {
  try {
    work();
  } catch (const core::ConfigError& error) {
    for (const auto& line : core::split(error.what(), '\n'))
      problems.push_back(core::concat("'", where, "': ", line));
  }
}

}  // namespace corda::study
