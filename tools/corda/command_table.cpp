// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "command_table.h"

#include <algorithm>

#include "corda/core/text.h"
#include "corda/train/settings.h"

namespace corda::tools {

namespace {

FlagRow row_of(const CLI::Option& option) {
  FlagRow row{.names = {}, .help = option.get_description(), .value = {}, .choices = {}};
  for (const auto& name : option.get_snames()) row.names.push_back("-" + name);
  for (const auto& name : option.get_lnames()) row.names.push_back("--" + name);
  row.positional = row.names.empty();
  if (row.positional) row.names.push_back(option.get_name());
  if (option.get_type_size_max() > 0) {
    // A check stands behind a colon: "TEXT:{auto,always,never}".
    const std::string type = option.get_type_name();
    const auto colon = type.find(':');
    row.value = type.substr(0, colon);
    if (row.value.find('|') != std::string::npos) {
      row.choices = core::split(row.value, '|');
    } else if (colon != std::string::npos && type.substr(colon).starts_with(":{")) {
      row.choices = core::split(type.substr(colon + 2, type.size() - colon - 3), ',');
    }
  }
  return row;
}

}  // namespace

bool FlagRow::takes_path() const { return value == "PATH" || value == "FILE" || value == "DIR"; }

CommandTable table_of(const CLI::App& app) {
  CommandTable table{.version = CORDA_VERSION, .verbs = {}, .settings = {}};
  for (const CLI::App* verb : app.get_subcommands({})) {
    table.verbs.push_back({.name = verb->get_name(), .help = verb->get_description(), .flags = {}});
    for (const CLI::Option* option : verb->get_options())
      table.verbs.back().flags.push_back(row_of(*option));
  }
  train::TrainSettings settings;
  const core::SettingsList list = train::settings_of(settings);
  for (const core::Setting& setting : list.items()) table.settings.push_back(setting.name);
  return table;
}

}  // namespace corda::tools
