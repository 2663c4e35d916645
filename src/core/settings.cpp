// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/settings.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"

namespace corda::core {

namespace {

using Kind = ConfigNode::Kind;

const std::string& scalar_text(const std::string& name, const ConfigNode& node) {
  if (node.kind == Kind::kNull) {
    throw ConfigError(
        concat(node.place(), "'", name, "' has no value; give it one, or leave it out"));
  }
  if (node.kind != Kind::kScalar)
    throw ConfigError(concat(node.place(), "'", name, "' must be a single value"));
  return node.text;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The text without the underscores of 1_000; nullopt where one stands elsewhere than between
// digits.
std::optional<std::string> without_underscores(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      result += text[i];
    } else if (i == 0 || i + 1 == text.size() || !is_digit(text[i - 1]) || !is_digit(text[i + 1])) {
      return std::nullopt;
    }
  }
  return result;
}

// A number as the versions of YAML and people write it.
std::optional<double> number_of(const std::string& name, const ConfigNode& node) {
  const auto text = without_underscores(scalar_text(name, node));
  if (!text) return std::nullopt;
  if (text->size() > 1 && text->front() == '0' &&
      std::all_of(text->begin(), text->end(), is_digit)) {
    throw ConfigError(concat(node.place(), "'", name, "' is ", node.text,
                             ", which some programs read as octal and others as decimal; write it "
                             "without the zero in front"));
  }
  for (const auto& [prefix, base] : {std::pair{"0x", 16}, {"0X", 16}, {"0o", 8}}) {
    if (!text->starts_with(prefix)) continue;
    std::int64_t value = 0;
    const char* end = text->data() + text->size();
    const auto [stop, error] = std::from_chars(text->data() + 2, end, value, base);
    if (error != std::errc{} || stop != end || value < 0) return std::nullopt;
    return static_cast<double>(value);
  }
  const auto value = parse_double(*text);
  return value && std::isfinite(*value) ? value : std::nullopt;
}

void check_range(const std::string& name, double value, Range range, const ConfigNode& node) {
  if (value >= range.min && value <= range.max) return;
  if (std::isinf(range.max)) {
    throw ConfigError(concat(node.place(), "'", name, "' must be ", format_double(range.min),
                             " or more; it is ", node.text));
  }
  throw ConfigError(concat(node.place(), "'", name, "' must lie between ", format_double(range.min),
                           " and ", format_double(range.max), "; it is ", node.text));
}

double read_number(const std::string& name, const ConfigNode& node, Range range) {
  const auto value = number_of(name, node);
  if (!value)
    throw ConfigError(
        concat(node.place(), "'", name, "' must be a number; it is '", node.text, "'"));
  check_range(name, *value, range, node);
  return *value;
}

std::int64_t read_whole_number(const std::string& name, const ConfigNode& node, Range range) {
  constexpr double kExact = 9007199254740992;  // 2^53: what is larger may have been rounded
  const auto value = number_of(name, node);
  const auto exact = parse_int(node.text);
  if (!value || (!exact && (*value != std::floor(*value) || std::abs(*value) > kExact))) {
    throw ConfigError(
        concat(node.place(), "'", name, "' must be a whole number; it is '", node.text, "'"));
  }
  check_range(name, *value, range, node);
  return exact.value_or(static_cast<std::int64_t>(*value));
}

// What YAML's versions write for true and false.
std::optional<bool> parse_bool(const std::string& text) {
  const std::string word = to_lower_ascii(text);
  if (word == "true" || word == "yes" || word == "on" || word == "1") return true;
  if (word == "false" || word == "no" || word == "off" || word == "0") return false;
  return std::nullopt;
}

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// "; put a space behind the colon" where a text looks like a key with its value.
std::string colon_advice(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) return "";
  return concat("; put a space behind the colon of '", text, "'");
}

// The paths that one stands for.
std::vector<std::string> changed(const std::string& path, const Setting& setting,
                                 const SettingsList::PathChange& change) {
  std::vector<std::string> paths = change(path, setting.path_kind);
  if (paths.empty()) throw InternalError(concat("[core::SettingsList] no path for '", path, "'"));
  return paths;
}

// The maps, or scalars, that one item of a list becomes.
std::vector<ConfigNode> changed_items(const ConfigNode& item, const Setting& setting,
                                      const SettingsList::PathChange& change) {
  if (item.kind == Kind::kNull || item.kind == Kind::kList) return {item};
  const ConfigNode* path = item.kind == Kind::kScalar ? &item : item.find("path");
  if (path == nullptr) return {item};
  std::vector<ConfigNode> items;
  const auto paths = changed(path->text, setting, change);
  for (const std::string& now : paths) {
    items.push_back(item);
    if (item.kind == Kind::kScalar) {
      items.back().text = now;
      continue;
    }
    for (auto& [key, entry] : items.back().entries)
      if (key == "path") entry.text = now;
    if (paths.size() > 1 && item.find("weight") != nullptr && item.find("source") == nullptr)
      items.back().entries.emplace_back("source", ConfigNode::scalar(path->text));
  }
  return items;
}

// Puts `change` of it in the place of every path in a value.
ConfigNode with_changed_paths(ConfigNode value, const Setting& setting,
                              const SettingsList::PathChange& change) {
  if (value.kind == Kind::kScalar) {
    const auto paths = changed(value.text, setting, change);
    if (paths.size() > 1) {
      throw ConfigError(
          concat("'", value.text, "' stands for ", paths.size(), " files, and one is wanted here"));
    }
    value.text = paths.front();
  }
  std::vector<ConfigNode> items;
  for (const ConfigNode& item : value.items) {
    for (ConfigNode& now : changed_items(item, setting, change)) items.push_back(std::move(now));
  }
  value.items = std::move(items);
  return value;
}

std::string range_text(const Setting& setting) {
  const auto [min, max] = setting.range;
  if (std::isinf(min) || std::isinf(max)) return "";
  return concat(" from ", format_double(min), " to ", format_double(max));
}

std::vector<ConfigNode> list_items(const std::string& name, const ConfigNode& node) {
  if (node.kind == Kind::kList) return node.items;
  if (node.kind == Kind::kNull) return {};
  std::vector<ConfigNode> items;
  for (const auto& part : split(scalar_text(name, node), ',')) {
    items.push_back(ConfigNode::scalar(std::string(trim(part))));
    items.back().where = node.where;
  }
  return items;
}

// Puts a value at a dotted path, creating the maps on the way.
void put(ConfigNode& root, std::string_view path, ConfigNode value) {
  root.kind = Kind::kMap;
  const auto dot = path.find('.');
  const std::string head(path.substr(0, dot));
  auto found = std::find_if(root.entries.begin(), root.entries.end(),
                            [&](const auto& entry) { return entry.first == head; });
  if (found == root.entries.end())
    found = root.entries.insert(root.entries.end(), {head, ConfigNode{}});
  if (dot == std::string_view::npos) {
    found->second = std::move(value);
  } else {
    put(found->second, path.substr(dot + 1), std::move(value));
  }
}

}  // namespace

std::string value_text(const ConfigNode& value) {
  if (value.kind != Kind::kList) return value.text;
  std::vector<std::string> parts;
  for (const auto& item : value.items) parts.push_back(item.text);
  return join(parts, ", ");
}

SettingsList& SettingsList::add(Setting setting) {
  if (find(setting.name) != nullptr)
    throw InternalError(concat("[core::SettingsList] '", setting.name, "' is listed twice"));
  items_.push_back(std::move(setting));
  return *this;
}

SettingsList& SettingsList::add(std::string name, bool& member, std::string help) {
  Setting setting{.name = name, .help = std::move(help), .type = "yes/no"};
  setting.is_flag = true;
  setting.read = [name, &member](const ConfigNode& node) {
    const auto value = parse_bool(scalar_text(name, node));
    if (!value) {
      throw ConfigError(
          concat(node.place(), "'", name, "' must be true or false; it is '", node.text, "'"));
    }
    member = *value;
  };
  setting.write = [&member] { return ConfigNode::scalar(member ? "true" : "false"); };
  return add(std::move(setting));
}

SettingsList& SettingsList::add(std::string name, std::int64_t& member, std::string help,
                                Range range) {
  Setting setting{.name = name, .help = std::move(help), .type = "integer"};
  setting.range = range;
  setting.read = [name, &member, range](const ConfigNode& node) {
    member = read_whole_number(name, node, range);
  };
  setting.write = [&member] { return ConfigNode::scalar(std::to_string(member)); };
  return add(std::move(setting));
}

SettingsList& SettingsList::add(std::string name, double& member, std::string help, Range range) {
  Setting setting{.name = name, .help = std::move(help), .type = "number"};
  setting.range = range;
  setting.read = [name, &member, range](const ConfigNode& node) {
    member = read_number(name, node, range);
  };
  setting.write = [&member] { return ConfigNode::scalar(format_double(member)); };
  return add(std::move(setting));
}

SettingsList& SettingsList::add(std::string name, std::string& member, std::string help,
                                std::vector<std::string> choices) {
  Setting setting{.name = name, .help = std::move(help), .type = "text", .choices = choices};
  setting.read = [name, &member, choices, may_be_empty = member.empty()](const ConfigNode& node) {
    const bool empty = node.kind == Kind::kNull && may_be_empty;
    std::string text = empty ? node.text : scalar_text(name, node);
    const auto truth = parse_bool(text);
    if (const std::string word = truth && *truth ? "true" : "false";
        truth && !contains(choices, text) && contains(choices, word))
      text = word;
    if (!choices.empty() && !contains(choices, text)) {
      throw ConfigError(concat(node.place(), "'", name, "' must be one of ", join(choices, ", "),
                               "; it is '", text, "'", suggestion(text, choices)));
    }
    member = text;
  };
  setting.write = [&member] { return ConfigNode::scalar(member); };
  return add(std::move(setting));
}

SettingsList& SettingsList::add(std::string name, std::vector<std::string>& member,
                                std::string help) {
  Setting setting{.name = name, .help = std::move(help), .type = "list"};
  setting.is_list = true;
  setting.read = [name, &member](const ConfigNode& node) {
    std::vector<std::string> values;
    for (const auto& item : list_items(name, node)) values.push_back(scalar_text(name, item));
    member = std::move(values);
  };
  setting.write = [&member] { return ConfigNode::list(member); };
  return add(std::move(setting));
}

SettingsList& SettingsList::add(std::string name, std::vector<double>& member, std::string help,
                                Range range) {
  Setting setting{.name = name, .help = std::move(help), .type = "list of numbers"};
  setting.range = range;
  setting.is_list = true;
  setting.read = [name, &member, range](const ConfigNode& node) {
    std::vector<double> values;
    for (const auto& item : list_items(name, node))
      values.push_back(read_number(name, item, range));
    member = std::move(values);
  };
  setting.write = [&member] {
    std::vector<std::string> texts;
    for (const double value : member) texts.push_back(format_double(value));
    return ConfigNode::list(texts);
  };
  return add(std::move(setting));
}

SettingsList& SettingsList::required() {
  items_.back().required = true;
  return *this;
}

SettingsList& SettingsList::split_at_commas() {
  items_.back().splits_at_commas = true;
  return *this;
}

SettingsList& SettingsList::free(std::function<bool()> when) {
  items_.back().free = std::move(when);
  return *this;
}

SettingsList& SettingsList::path(PathKind kind) {
  items_.back().path_kind = kind;
  return *this;
}

SettingsList& SettingsList::explain(std::function<std::string(std::string_view)> explain) {
  explain_ = std::move(explain);
  return *this;
}

const Setting* SettingsList::find(std::string_view name) const {
  const auto found = std::find_if(items_.begin(), items_.end(),
                                  [&](const Setting& item) { return item.name == name; });
  return found == items_.end() ? nullptr : &*found;
}

// The names of all settings and of the groups that they stand in.
std::vector<std::string> SettingsList::names() const {
  std::vector<std::string> result;
  for (const auto& item : items_) result.push_back(item.name);
  for (const auto& item : items_) {
    const std::string group = item.name.substr(0, item.name.find('.'));
    if (std::find(result.begin(), result.end(), group) == result.end()) result.push_back(group);
  }
  return result;
}

bool SettingsList::is_group(std::string_view name) const {
  return std::any_of(items_.begin(), items_.end(), [&](const Setting& item) {
    return item.name.starts_with(name) && item.name.substr(name.size()).starts_with('.');
  });
}

void SettingsList::refuse_unknown(std::string_view name, const std::string& place) const {
  const std::string here = explain_ ? explain_(name) : "";
  if (is_group(name)) {
    constexpr std::size_t kNamed = 4;
    std::vector<std::string> inside;
    for (const auto& item : items_)
      if (item.name.starts_with(concat(name, "."))) inside.push_back(item.name);
    const bool more = inside.size() > kNamed;
    if (more) inside.resize(kNamed);
    throw ConfigError(concat(place, "'", name, "' is a group; set ", join(inside, ", "),
                             more ? ", ..." : "", here.empty() ? "" : "; " + here));
  }
  const auto candidates = names();
  const std::string colon = colon_advice(name);
  throw ConfigError(concat(place, "unknown setting '", name, "'",
                           !here.empty()    ? ": " + here
                           : !colon.empty() ? colon
                                            : suggestion(name, candidates)));
}

void SettingsList::set(std::string_view name, const ConfigNode& value) const {
  const Setting* setting = find(name);
  if (setting == nullptr) refuse_unknown(name, value.place());
  setting->read(value);
}

void SettingsList::set_assignment(std::string_view assignment) const {
  const auto equals = assignment.find('=');
  if (equals == std::string_view::npos) {
    throw ConfigError(
        concat("--set expects name=value, for example optim.lr=1e-4; it got '", assignment, "'"));
  }
  const std::string_view name = trim(assignment.substr(0, equals));
  ConfigNode value = parse_yaml(assignment.substr(equals + 1), concat("--set ", name));
  value.where = "--set";
  set(name, value);
}

void SettingsList::read(const ConfigNode& root) const {
  std::vector<std::string> problems;
  const std::function<void(const std::string&, const ConfigNode&)> visit =
      [&](const std::string& name, const ConfigNode& node) {
        const bool known = !name.empty() && find(name) != nullptr;
        const bool group = name.empty() || is_group(name);
        if (!known && group && node.kind == Kind::kMap) {
          for (const auto& [key, value] : node.entries) {
            if (name.empty() && key.starts_with("x-")) continue;
            visit(name.empty() ? key : name + "." + key, value);
          }
          return;
        }
        if (!known && group && node.kind == Kind::kNull) return;  // "optim:" with nothing below it
        try {
          if (!known && group) {
            std::string here = colon_advice(node.text);
            if (here.empty() && explain_) here = explain_(name);
            throw ConfigError(concat(node.place(), "'", name, "' must be a group of settings",
                                     here.empty() || here.starts_with(';') ? here : ": " + here));
          }
          set(name, node);
        } catch (const ConfigError& error) {
          problems.emplace_back(error.what());
        }
      };
  if (root.kind != Kind::kMap && root.kind != Kind::kNull) {
    throw ConfigError(concat(root.place(), "the configuration must be a map of settings",
                             colon_advice(root.text)));
  }
  visit("", root);
  if (!problems.empty()) throw ConfigError(join(problems, "\n"));
}

void SettingsList::check_required() const {
  std::vector<std::string> missing;
  for (const auto& item : items_) {
    if (!item.required) continue;
    const ConfigNode value = item.write();
    if (value.text.empty() && value.items.empty()) missing.push_back("'" + item.name + "'");
  }
  if (!missing.empty())
    throw ConfigError(
        concat("missing setting", missing.size() > 1 ? "s " : " ", join(missing, ", ")));
}

void SettingsList::check_values() const {
  std::vector<std::string> problems;
  for (const auto& item : items_) {
    try {
      item.read(item.write());
    } catch (const ConfigError& error) {
      problems.emplace_back(error.what());
    }
  }
  if (!problems.empty()) throw ConfigError(join(problems, "\n"));
}

ConfigNode SettingsList::resolved() const {
  ConfigNode root;
  root.kind = Kind::kMap;
  for (const auto& item : items_) put(root, item.name, item.write());
  return root;
}

ConfigNode SettingsList::binding() const {
  ConfigNode root;
  root.kind = Kind::kMap;
  for (const auto& item : items_)
    if (!item.free || !item.free()) put(root, item.name, item.write());
  return root;
}

void SettingsList::change_paths(const PathChange& change) const {
  for (const auto& item : items_) {
    if (item.path_kind == PathKind::kNone) continue;
    const ConfigNode value = item.write();
    if (value.kind == Kind::kScalar && value.text.empty()) continue;
    try {
      const ConfigNode now = with_changed_paths(value, item, change);
      if (to_yaml(now) != to_yaml(value)) item.read(now);
    } catch (const ConfigError& error) {
      throw ConfigError(concat("'", item.name, "': ", error.what()));
    } catch (const IoError& error) {
      throw IoError(concat("'", item.name, "': ", error.what()));
    }
  }
}

namespace {

std::string type_of(const Setting& item) {
  return item.choices.empty() ? item.type : join(item.choices, ", ");
}

std::string default_of(const Setting& item) {
  return item.required ? "required" : value_text(item.write());
}

std::string row_of(const Setting& item, const std::string& before) {
  return concat("| `", before, item.name, "` | ", type_of(item), " | ", default_of(item), " | ",
                item.help, " |\n");
}

constexpr const char* kTableHead = "| setting | type | default | meaning |\n|---|---|---|---|\n";

// What may stand in the map of a setting comes behind it: `data.train[].path`.
std::string table_of(const std::vector<Setting>& items) {
  std::string table = kTableHead;
  for (const auto& item : items) {
    table += row_of(item, "");
    for (const auto& entry : item.entries) table += row_of(entry, concat(item.name, "[]."));
  }
  return table;
}

}  // namespace

std::string SettingsList::markdown() const { return table_of(items_); }

std::vector<Setting> SettingsList::named(std::string_view name) const {
  if (name.empty()) return items_;
  std::vector<Setting> group;
  std::vector<Setting> last;
  for (const auto& item : items_) {
    if (item.name.starts_with(concat(name, "."))) group.push_back(item);
    if (last_part(item.name) == name) last.push_back(item);
  }
  if (!group.empty()) return group;
  if (const Setting* exact = find(name)) return {*exact};
  if (last.size() != 1) refuse_unknown(name, "");
  return last;
}

std::string SettingsList::help(std::string_view name) const {
  const std::vector<Setting> meant = named(name);
  if (is_group(name)) return table_of(meant);
  const Setting& item = meant.front();
  const std::string value = default_of(item);
  std::string text =
      concat(item.name, ": ", item.help, "\n  ", type_of(item), range_text(item), "; ",
             item.required ? "" : "default: ", value.empty() ? "empty" : value, "\n");
  if (!item.entries.empty()) {
    text += concat("Each is a path, or a map of:\n", kTableHead);
    for (const auto& entry : item.entries) text += row_of(entry, "");
  }
  const auto dot = item.name.find('.');
  std::vector<std::string> beside;
  for (const auto& other : items_) {
    if (dot != std::string::npos && other.name != item.name &&
        other.name.starts_with(item.name.substr(0, dot + 1)))
      beside.push_back(other.name);
  }
  if (!beside.empty()) text += concat("Beside it: ", join(beside, ", "), "\n");
  return text;
}

void refuse_changed(const SettingsList& now, const SettingsList& usual,
                    const std::vector<std::string>& names, const std::string& why) {
  std::vector<std::string> changed;
  for (const std::string& name : names) {
    if (now.find(name) == nullptr || usual.find(name) == nullptr)
      throw InternalError(concat("[core::refuse_changed] there is no setting '", name, "'"));
    if (value_text(now.find(name)->write()) != value_text(usual.find(name)->write()))
      changed.push_back(concat("'", name, "'"));
  }
  if (changed.empty()) return;
  const bool one = changed.size() == 1;
  throw ConfigError(concat(listed(changed), one ? " is " : " are ", why));
}

void write_settings(const fs::path& directory, const SettingsList& list) {
  write_file_atomic(directory / kSettingsFile, to_yaml(list.resolved()));
}

}  // namespace corda::core
