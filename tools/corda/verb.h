// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A verb of the command line, its flags made from a settings list.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "corda/core/settings.h"

namespace corda::dist {
class World;
}

namespace corda::tools {

// What every verb has beside its own flags.
struct CommonFlags {
  bool json = false;   // results on stdout as one JSON object
  bool quiet = false;  // no progress, warnings only
  int gpus = 0;        // processes to start on this machine; 0: this one, or what a launcher says
  // The ranks that do the work together, there while an action runs; one of them prints.
  dist::World* world = nullptr;
  bool prints = true;
};

// The work of the verb that was chosen; set while the command line is parsed, run after it.
using Action = std::function<void()>;

// One line on stdout. What is no UTF-8 (a path may hold any bytes) is replaced.
void print_json(const nlohmann::ordered_json& object);

// Adds a verb with a flag for every setting of `list`: "--batch-tokens" for "batch_tokens"; help
// text, default and choices come from the list. The values are set while the command line is
// parsed. Where the verb is chosen, `action` becomes `work` behind a check of required settings.
CLI::App& add_verb(CLI::App& app, const std::string& name, const std::string& help,
                   const core::SettingsList& list, Action& action, Action work);

// Lets a verb's setting be given without its flag too: `corda inspect PATH`.
void give_positional(CLI::App& verb, const core::SettingsList& list, const std::string& name);

}  // namespace corda::tools
