// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The verbs and flags of the command line as plain data, for completion and the manual page.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace corda::tools {

struct FlagRow {
  std::vector<std::string> names;  // with their dashes, "-q", "--quiet"; of a positional its name
  std::string help;
  std::string value;                 // what stands behind it: "TEXT", "NUMBER", "PATH"; "": nothing
  std::vector<std::string> choices;  // words that it takes, empty = any
  bool positional = false;

  bool takes_path() const;
};

struct VerbRow {
  std::string name;
  std::string help;
  std::vector<FlagRow> flags;
};

struct CommandTable {
  std::string version;
  std::vector<VerbRow> verbs;
  std::vector<std::string> settings;  // names for `train --set` and the like
};

// The table of a command line to which every verb was added.
CommandTable table_of(const CLI::App& app);

// A script that the shell reads once: `corda completion bash` and so on.
std::string bash_completion(const CommandTable& table);
std::string zsh_completion(const CommandTable& table);
std::string fish_completion(const CommandTable& table);

// The manual page corda(1), in man's own macros.
std::string man_page(const CommandTable& table);

// docs/settings.md: every setting of a training, every flag of every verb, as Markdown.
std::string settings_page(const CommandTable& table);

}  // namespace corda::tools
