// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "verb.h"

#include <algorithm>
#include <utility>

#include "corda/core/text.h"

namespace corda::tools {

namespace {

std::string flag_name(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return "--" + name;
}

std::string help_text(const core::Setting& setting) {
  std::string text = setting.help;
  if (!setting.choices.empty()) text += ": " + core::join(setting.choices, ", ");
  const core::ConfigNode value = setting.write();
  std::vector<std::string> parts;
  for (const auto& item : value.items) parts.push_back(item.text);
  const std::string fallback = value.items.empty() ? value.text : core::join(parts, ",");
  if (setting.required) {
    text += " (required)";
  } else if (!fallback.empty() && !setting.is_flag) {
    text += " [" + fallback + "]";
  }
  return text;
}

core::ConfigNode list_of(const std::vector<std::string>& values) {
  core::ConfigNode node;
  node.kind = core::ConfigNode::Kind::kList;
  for (const auto& value : values) node.items.push_back(core::ConfigNode::scalar(value));
  return node;
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
      const bool comma = setting.name == "target_modules";
      app.add_option_function<std::vector<std::string>>(
             name,
             [read = setting.read, comma](const std::vector<std::string>& values) {
               read(comma ? core::ConfigNode::scalar(core::join(values, ",")) : list_of(values));
             },
             help)
          ->type_name("TEXT")
          ->allow_extra_args(true);
    } else {
      app.add_option_function<std::string>(
             name,
             [read = setting.read](const std::string& value) {
               read(core::ConfigNode::scalar(value));
             },
             help)
          ->type_name(setting.type == "text" ? "TEXT" : "NUMBER");
    }
  }
}

}  // namespace

CLI::App& add_verb(CLI::App& app, const std::string& name, const std::string& help,
                   const core::SettingsList& list, Action& action, Action work) {
  CLI::App& verb = *app.add_subcommand(name, help);
  add_flags(verb, list);
  verb.callback([list, &action, work = std::move(work)] {
    action = [list, work] {
      list.check_required();
      work();
    };
  });
  return verb;
}

}  // namespace corda::tools
