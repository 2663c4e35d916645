// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A verb's settings, listed once: YAML files, flags, `--set`, `--help`, the resolved dump and the
// documentation tables are all made from the same list.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "corda/core/config_node.h"

namespace corda::core {

struct Range {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
};

// What a setting that holds paths names with them.
enum class PathKind {
  kNone,   // it is no path
  kOther,  // a file or folder of the user's, or one to be written
  kModel,  // a folder of a model or adapter, which may be in the Hugging Face cache
  kData,   // data files: may be a pattern, or in the Hugging Face cache
};

// One setting: a name ("optim.lr"), its help, and how to read and write the member behind it.
struct Setting {
  std::string name;
  std::string help;
  std::string type;                       // "integer", "number", "text", "yes/no", "list"...
  std::vector<std::string> choices = {};  // allowed words, empty = any
  std::function<void(const ConfigNode&)> read = {};  // throws ConfigError
  std::function<ConfigNode()> write = {};            // the current value
  // Says whether a continued run may have another value: the result does not depend on it, or what
  // of it counts is compared by itself (a file's content, not its path). Empty: it may not.
  std::function<bool()> free = {};
  bool required = false;
  bool is_flag = false;           // a switch on the command line
  bool is_list = false;           // may be given several times on the command line
  bool splits_at_commas = false;  // a list whose values on the command line may be joined by commas
  // What a path, or a list of paths, names; of a map it is the entry "path".
  PathKind path_kind = PathKind::kNone;
  Range range = {};                   // of numbers
  std::vector<Setting> entries = {};  // of a value that may be a map: what may stand in it
};

// The value of a setting as help texts and tables show it: the items of a list joined by commas.
std::string value_text(const ConfigNode& value);

// The list binds to the members of a live settings struct, which must outlive it.
class SettingsList {
 public:
  SettingsList& add(std::string name, bool& member, std::string help);
  SettingsList& add(std::string name, std::int64_t& member, std::string help, Range range = {});
  SettingsList& add(std::string name, double& member, std::string help, Range range = {});
  SettingsList& add(std::string name, std::string& member, std::string help,
                    std::vector<std::string> choices = {});
  SettingsList& add(std::string name, std::vector<std::string>& member, std::string help);
  SettingsList& add(std::string name, std::vector<double>& member, std::string help,
                    Range range = {});
  SettingsList& add(Setting setting);
  // Marks the setting added last as one that has no usable default.
  SettingsList& required();
  // Lets the list added last be given as one text on the command line, its values between commas.
  SettingsList& split_at_commas();
  // Marks it as one that a continued run may change, where `when` says so of the values of now.
  SettingsList& free(std::function<bool()> when = [] { return true; });

  // Marks it as a path, or a list of paths.
  SettingsList& path(PathKind kind = PathKind::kOther);
  // Lets `explain` say what is used here in place of a name that is no setting, for the message
  // that refuses it; "" where it knows nothing.
  SettingsList& explain(std::function<std::string(std::string_view name)> explain);

  const std::vector<Setting>& items() const { return items_; }
  const Setting* find(std::string_view name) const;

  // Reads one value. Throws ConfigError for an unknown name (with a suggestion) or a bad value.
  void set(std::string_view name, const ConfigNode& value) const;
  // Reads `name=value`, the value being a YAML scalar or flow list.
  void set_assignment(std::string_view assignment) const;
  // Reads a whole tree; nested maps are joined with dots. Numbers may be written as 1_000, 1e3 or
  // 0x10; yes, no, on and off as they like. A key of the outermost map that begins with "x-" is a
  // place for anchors and nothing else. All problems are reported together in one ConfigError.
  void read(const ConfigNode& root) const;
  // Throws one ConfigError that names every required setting that is still empty.
  void check_required() const;
  // Throws one ConfigError that names every present value that `set` would refuse: members set from
  // C++ were not read.
  void check_values() const;

  // Every setting with its present value, as a tree that `read` accepts.
  ConfigNode resolved() const;
  // The settings of `resolved` that a continued run may not change.
  ConfigNode binding() const;
  // What a path stands for: one path, or of data files any number.
  using PathChange = std::function<std::vector<std::string>(const std::string&, PathKind)>;
  // Puts `change` of it in the place of every path; an item of a list that stands for several
  // becomes several, and where it is a map with a "weight", these share it (by their "source", the
  // path as written). A ConfigError or IoError of it gets the setting's name.
  void change_paths(const PathChange& change) const;
  // The settings that `name` means: one by its name or, where it is the only one, by the last part
  // of its name; those of a group; all for "". Throws ConfigError as `set`.
  std::vector<Setting> named(std::string_view name) const;
  // All settings as a Markdown table: setting, type, default, meaning.
  std::string markdown() const;
  // What one setting means, with the names that stand beside it in its group; of a group the table.
  // Throws ConfigError as `named`.
  std::string help(std::string_view name) const;
  // A JSON schema (2020-12) of the file that `read` reads, for editors.
  std::string json_schema(const std::string& title) const;

 private:
  std::vector<std::string> names() const;
  bool is_group(std::string_view name) const;
  [[noreturn]] void refuse_unknown(std::string_view name, const std::string& place) const;

  std::vector<Setting> items_;
  std::function<std::string(std::string_view)> explain_;
};

// What help texts say of settings of PathKind kModel and kData.
inline constexpr const char* kModelHelp =
    "base model: a directory, or org/name in the Hugging Face cache";
inline constexpr const char* kDataHelp =
    "data file, a pattern ('data/*.jsonl'), or hf://datasets/org/name/file in the Hugging Face "
    "cache; may be given several times";

// Throws ConfigError where any of `names` has another value in `now` than in `usual`, the same list
// over untouched members: "'predictions', 'compare' are WHY".
void refuse_changed(const SettingsList& now, const SettingsList& usual,
                    const std::vector<std::string>& names, const std::string& why);

// The settings that an output directory was made with.
inline constexpr const char* kSettingsFile = "settings.resolved.yaml";

// Writes the resolved settings into `directory`, atomically. Throws ResourceError.
void write_settings(const std::filesystem::path& directory, const SettingsList& list);

}  // namespace corda::core
