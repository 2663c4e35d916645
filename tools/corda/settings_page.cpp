// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// docs/settings.md, from the settings lists and the flags of the command line.
#include "command_table.h"
#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/train/settings.h"

namespace corda::tools {

using core::concat;

namespace {

// What Markdown would take for the end of a cell.
std::string cell(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '|' ? std::string("\\|") : std::string(1, c);
  return result;
}

// The table of all settings with a heading and a head of its own for each group.
std::string training_settings() {
  train::TrainSettings settings;
  const auto lines = core::split(train::settings_of(settings).markdown(), '\n');
  const std::string head = concat(lines.at(0), "\n", lines.at(1), "\n");
  std::string text = concat("### In the outermost map\n\n", head);
  std::string group;
  for (std::size_t i = 2; i < lines.size(); ++i) {
    if (lines[i].empty()) continue;
    // "| `optim.lr` | number | ..."
    const std::string name = core::split(lines[i], '`').at(1);
    const auto dot = name.find('.');
    const std::string now = dot == std::string::npos ? "" : name.substr(0, dot);
    if (now != group) {
      text += now.empty() ? concat("\n### In the outermost map, again\n\n", head)
                          : concat("\n### `", now, "`\n\n", head);
      group = now;
    }
    text += lines[i] + "\n";
  }
  return text;
}

std::string flags_of(const VerbRow& verb) {
  std::string text = concat("\n## corda ", verb.name, "\n\n", verb.help, "\n");
  std::string rows;
  for (const FlagRow& flag : verb.flags) {
    if (flag.names.back() == "--help") continue;
    std::string names;
    for (const auto& name : flag.names) names += concat(names.empty() ? "" : ", ", "`", name, "`");
    const std::string value = flag.choices.empty() ? flag.value : core::join(flag.choices, ", ");
    rows += concat("| ", names, " | ", cell(value), " | ", cell(flag.help), " |\n");
  }
  if (!rows.empty()) text += concat("\n| flag | takes | meaning |\n|---|---|---|\n", rows);
  return text;
}

}  // namespace

std::string settings_page(const CommandTable& table) {
  std::string page = concat(
      "# Settings\n\n"
      "Every setting of a training and every flag of every verb. The program wrote this page\n"
      "(`corda config --markdown`); a test fails where it is not what the program says today.\n\n"
      "`corda train --settings optim.lr` shows one setting, `corda config --explain --damping` one "
      "flag.\nA value in square brackets is the default.\n\n"
      "## A training's file\n\n"
      "What may stand in the file of `corda train --config train.yaml`, and in `--set "
      "NAME=VALUE`.\n"
      "Groups are maps: `optim: {lr: 1.0e-4}` is `optim.lr`. Unknown names are errors.\n\n",
      training_settings());
  for (const VerbRow& verb : table.verbs) page += flags_of(verb);
  return page;
}

}  // namespace corda::tools
