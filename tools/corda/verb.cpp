// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "verb.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "corda/core/text.h"
#include "core/json.h"
#include "user_paths.h"

namespace corda::tools {

namespace {

// What stands behind a flag: its words where it takes certain ones.
std::string value_name(const core::Setting& setting) {
  if (!setting.choices.empty()) return core::join(setting.choices, "|");
  if (setting.path_kind != core::PathKind::kNone) return "PATH";
  const bool number = setting.type == "integer" || setting.type == "number";
  return number ? "NUMBER" : "TEXT";
}

std::string flag_name(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return "--" + name;
}

std::string help_text(const core::Setting& setting) {
  std::string text = setting.help;
  const std::string fallback = core::value_text(setting.write());
  if (setting.required) {
    text += " (required)";
  } else if (!fallback.empty() && !setting.is_flag) {
    text += " [" + fallback + "]";
  }
  return text;
}

void add_flags(CLI::App& app, const core::SettingsList& list) {
  for (const auto& setting : list.items()) {
    const std::string name = flag_name(setting.name);
    const std::string help = help_text(setting);
    if (setting.is_flag) {
      app.add_flag_function(
          name, [read = setting.read](std::int64_t) { read(core::ConfigNode::scalar("true")); },
          help);
    } else if (setting.is_list) {
      app.add_option_function<std::vector<std::string>>(
             name,
             [read = setting.read,
              splits = setting.splits_at_commas](const std::vector<std::string>& values) {
               read(splits ? core::ConfigNode::scalar(core::join(values, ","))
                           : core::ConfigNode::list(values));
             },
             help)
          ->type_name(value_name(setting))
          ->allow_extra_args(true);
    } else {
      app.add_option_function<std::string>(
             name,
             [read = setting.read](const std::string& value) {
               read(core::ConfigNode::scalar(value));
             },
             help)
          ->type_name(value_name(setting));
    }
  }
}

}  // namespace

void print_json(const nlohmann::ordered_json& object) {
  std::printf("%s\n", core::json_line(object).c_str());
}

CLI::App& add_verb(CLI::App& app, const std::string& name, const std::string& help,
                   const core::SettingsList& list, Action& action, Action work) {
  CLI::App& verb = *app.add_subcommand(name, help);
  add_flags(verb, list);
  verb.callback([list, &action, work = std::move(work)] {
    action = [list, work] {
      list.check_required();
      expand_paths(list);
      work();
    };
  });
  return verb;
}

void give_positional(CLI::App& verb, const core::SettingsList& list, const std::string& name) {
  std::string shown = name;
  std::transform(shown.begin(), shown.end(), shown.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  verb.add_option_function<std::string>(
          shown,
          [read = list.find(name)->read](const std::string& value) {
            read(core::ConfigNode::scalar(value));
          },
          list.find(name)->help)
      ->type_name(value_name(*list.find(name)));
}

}  // namespace corda::tools
