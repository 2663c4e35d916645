// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/settings.h"

#include <algorithm>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"

namespace corda::core {

namespace {

using Kind = ConfigNode::Kind;

const std::string& scalar_text(const std::string& name, const ConfigNode& node) {
  if (node.kind != Kind::kScalar)
    throw ConfigError(concat(node.place(), "'", name, "' must be a single value"));
  return node.text;
}

void check_range(const std::string& name, double value, Range range, const ConfigNode& node) {
  if (value >= range.min && value <= range.max) return;
  throw ConfigError(concat(node.place(), "'", name, "' must lie between ", format_double(range.min),
                           " and ", format_double(range.max), "; it is ", node.text));
}

double read_number(const std::string& name, const ConfigNode& node, Range range) {
  const auto value = parse_double(scalar_text(name, node));
  if (!value)
    throw ConfigError(
        concat(node.place(), "'", name, "' must be a number; it is '", node.text, "'"));
  check_range(name, *value, range, node);
  return *value;
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
    const std::string& text = scalar_text(name, node);
    if (text == "true" || text == "yes" || text == "on" || text == "1") {
      member = true;
    } else if (text == "false" || text == "no" || text == "off" || text == "0") {
      member = false;
    } else {
      throw ConfigError(
          concat(node.place(), "'", name, "' must be true or false; it is '", text, "'"));
    }
  };
  setting.write = [&member] { return ConfigNode::scalar(member ? "true" : "false"); };
  return add(std::move(setting));
}

SettingsList& SettingsList::add(std::string name, std::int64_t& member, std::string help,
                                Range range) {
  Setting setting{.name = name, .help = std::move(help), .type = "integer"};
  setting.read = [name, &member, range](const ConfigNode& node) {
    const auto value = parse_int(scalar_text(name, node));
    if (!value)
      throw ConfigError(
          concat(node.place(), "'", name, "' must be a whole number; it is '", node.text, "'"));
    check_range(name, static_cast<double>(*value), range, node);
    member = *value;
  };
  setting.write = [&member] { return ConfigNode::scalar(std::to_string(member)); };
  return add(std::move(setting));
}

SettingsList& SettingsList::add(std::string name, double& member, std::string help, Range range) {
  Setting setting{.name = name, .help = std::move(help), .type = "number"};
  setting.read = [name, &member, range](const ConfigNode& node) {
    member = read_number(name, node, range);
  };
  setting.write = [&member] { return ConfigNode::scalar(format_double(member)); };
  return add(std::move(setting));
}

SettingsList& SettingsList::add(std::string name, std::string& member, std::string help,
                                std::vector<std::string> choices) {
  Setting setting{.name = name, .help = std::move(help), .type = "text", .choices = choices};
  setting.read = [name, &member, choices](const ConfigNode& node) {
    const std::string& text = node.kind == Kind::kNull ? node.text : scalar_text(name, node);
    if (!choices.empty() && std::find(choices.begin(), choices.end(), text) == choices.end()) {
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

const Setting* SettingsList::find(std::string_view name) const {
  const auto found = std::find_if(items_.begin(), items_.end(),
                                  [&](const Setting& item) { return item.name == name; });
  return found == items_.end() ? nullptr : &*found;
}

// Of settings and of the groups they stand in.
std::vector<std::string> SettingsList::names() const {
  std::vector<std::string> result;
  for (const auto& item : items_) result.push_back(item.name);
  for (const auto& item : items_) {
    const std::string group = item.name.substr(0, item.name.find('.'));
    if (std::find(result.begin(), result.end(), group) == result.end()) result.push_back(group);
  }
  return result;
}

void SettingsList::set(std::string_view name, const ConfigNode& value) const {
  const Setting* setting = find(name);
  if (setting == nullptr) {
    auto candidates = names();
    std::erase(candidates, name);  // a group given as if it were a setting
    throw ConfigError(
        concat(value.place(), "unknown setting '", name, "'", suggestion(name, candidates)));
  }
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
        const bool is_group =
            name.empty() || std::any_of(items_.begin(), items_.end(), [&](const Setting& s) {
              return s.name.starts_with(name + ".");
            });
        if (!known && is_group && node.kind == Kind::kMap) {
          for (const auto& [key, value] : node.entries)
            visit(name.empty() ? key : name + "." + key, value);
          return;
        }
        if (!known && is_group && node.kind == Kind::kNull)
          return;  // "optim:" with nothing below it
        try {
          if (!known && is_group)
            throw ConfigError(concat(node.place(), "'", name, "' must be a group of settings"));
          set(name, node);
        } catch (const ConfigError& error) {
          problems.emplace_back(error.what());
        }
      };
  if (root.kind != Kind::kMap && root.kind != Kind::kNull) {
    throw ConfigError(concat(root.place(), "the configuration must be a map of settings"));
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

std::string SettingsList::markdown() const {
  std::string table = "| setting | type | default | meaning |\n|---|---|---|---|\n";
  for (const auto& item : items_) {
    const std::string type = item.choices.empty() ? item.type : join(item.choices, ", ");
    table +=
        concat("| `", item.name, "` | ", type, " | ",
               item.required ? "required" : value_text(item.write()), " | ", item.help, " |\n");
  }
  return table;
}

void write_settings(const fs::path& directory, const SettingsList& list) {
  write_file_atomic(directory / kSettingsFile, to_yaml(list.resolved()));
}

}  // namespace corda::core
