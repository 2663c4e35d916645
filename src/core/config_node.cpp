// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/config_node.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/text.h"

namespace corda::core {

namespace {

constexpr int kMaxDepth = 64;
constexpr std::int64_t kMaxNodes = 100'000;  // aliases of aliases double with every line

// The key that takes over the entries of other maps (yaml.org/type/merge.html).
constexpr const char* kMerge = "<<";

class Converter {
 public:
  explicit Converter(const std::string& source) : source_(source) {}

  ConfigNode convert(const YAML::Node& node, int depth) {
    ConfigNode result;
    result.where = node.Mark().is_null() ? source_ : concat(source_, ":", node.Mark().line + 1);
    if (depth > kMaxDepth)
      throw FormatError(concat(result.where, ": nested deeper than ", kMaxDepth, " levels"));
    if (++nodes_ > kMaxNodes) {
      throw FormatError(
          concat(source_, ": more than ", kMaxNodes, " values, once every alias is written out"));
    }
    if (node.IsScalar()) {
      result.kind = ConfigNode::Kind::kScalar;
      result.text = node.Scalar();
    } else if (node.IsSequence()) {
      result.kind = ConfigNode::Kind::kList;
      for (const auto& item : node) result.items.push_back(convert(item, depth + 1));
    } else if (node.IsMap()) {
      result.kind = ConfigNode::Kind::kMap;
      add_entries(result, node, depth);
    }
    return result;
  }

 private:
  void add_entries(ConfigNode& result, const YAML::Node& node, int depth) {
    std::optional<ConfigNode> merged;
    for (const auto& entry : node) {
      const std::string where = concat(source_, ":", entry.first.Mark().line + 1);
      if (!entry.first.IsScalar()) {
        throw FormatError(
            concat(where, ": a key must be a plain word",
                   entry.first.IsNull() ? "; a word of YAML's own goes in quotes, \"null\"" : ""));
      }
      const std::string& key = entry.first.Scalar();
      if (result.find(key) != nullptr || (key == kMerge && merged))
        throw FormatError(concat(where, ": the key '", key, "' stands twice"));
      ConfigNode value = convert(entry.second, depth + 1);
      value.where = where;  // a block's own place would be a line below its key
      if (key == kMerge)
        merged = std::move(value);
      else
        result.entries.emplace_back(key, std::move(value));
    }
    if (merged) merge(result, *merged);
  }

  // The map's own entries come before those of `merged`, a map or a list of maps of which the first
  // counts.
  static void merge(ConfigNode& result, const ConfigNode& merged) {
    if (merged.kind == ConfigNode::Kind::kList) {
      for (const ConfigNode& item : merged.items) merge(result, item);
      return;
    }
    if (merged.kind != ConfigNode::Kind::kMap) {
      throw FormatError(concat(merged.where, ": '", kMerge,
                               "' must be followed by a map, an alias of one, or a list of these"));
    }
    for (const auto& entry : merged.entries)
      if (result.find(entry.first) == nullptr) result.entries.push_back(entry);
  }

  const std::string& source_;
  std::int64_t nodes_ = 0;
};

// Every leaf of the tree under its dotted name, as YAML.
void flatten(const ConfigNode& node, const std::string& name,
             std::map<std::string, std::string>& into) {
  if (node.kind != ConfigNode::Kind::kMap) {
    into[name] = trim(to_yaml(node));
    return;
  }
  for (const auto& [key, value] : node.entries)
    flatten(value, name.empty() ? key : concat(name, ".", key), into);
}

void emit(YAML::Emitter& out, const ConfigNode& node) {
  switch (node.kind) {
    case ConfigNode::Kind::kNull:
      out << YAML::Null;
      break;
    case ConfigNode::Kind::kScalar:
      out << node.text;
      break;
    case ConfigNode::Kind::kList: {
      const bool plain = std::all_of(
          node.items.begin(), node.items.end(),
          [](const ConfigNode& item) { return item.kind == ConfigNode::Kind::kScalar; });
      if (plain) out << YAML::Flow;
      out << YAML::BeginSeq;
      for (const auto& item : node.items) emit(out, item);
      out << YAML::EndSeq;
      break;
    }
    case ConfigNode::Kind::kMap:
      out << YAML::BeginMap;
      for (const auto& [key, value] : node.entries) {
        out << YAML::Key << key << YAML::Value;
        emit(out, value);
      }
      out << YAML::EndMap;
      break;
  }
}

}  // namespace

std::string ConfigNode::place() const { return where.empty() ? "" : where + ": "; }

ConfigNode ConfigNode::scalar(std::string text) {
  ConfigNode node;
  node.kind = Kind::kScalar;
  node.text = std::move(text);
  return node;
}

ConfigNode ConfigNode::list(const std::vector<std::string>& values) {
  ConfigNode node;
  node.kind = Kind::kList;
  for (const auto& value : values) node.items.push_back(scalar(value));
  return node;
}

const ConfigNode* ConfigNode::find(std::string_view key) const {
  for (const auto& [name, value] : entries) {
    if (name == key) return &value;
  }
  return nullptr;
}

ConfigNode parse_yaml(std::string_view text, const std::string& source) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(text));
    if (documents.size() > 1) {
      const YAML::Mark begin = documents[1].Mark();
      throw FormatError(concat(source, begin.is_null() ? "" : concat(":", begin.line + 1),
                               ": a second YAML document begins here; put all into one, without a "
                               "line '---' between"));
    }
    return Converter(source).convert(documents.empty() ? YAML::Node() : documents.front(), 0);
  } catch (const YAML::Exception& error) {
    throw FormatError(concat(source, ":", error.mark.line + 1, ": not valid YAML: ", error.msg));
  }
}

std::vector<std::string> differences(const ConfigNode& saved, const ConfigNode& now,
                                     const std::set<std::string>& derived) {
  std::map<std::string, std::string> before;
  std::map<std::string, std::string> after;
  flatten(saved, "", before);
  flatten(now, "", after);
  std::vector<std::string> found;
  std::vector<std::string> following;
  for (const auto& [name, value] : after) {
    const auto old = before.find(name);
    const std::string then = old == before.end() ? "not there" : old->second;
    if (then == value) continue;
    const bool hashes =
        then.find("sha256") != std::string::npos && value.find("sha256") != std::string::npos;
    (derived.contains(name) ? following : found)
        .push_back(concat(
            "'", name,
            hashes ? "' is another one now" : concat("' was ", then, " and is ", value, " now")));
  }
  if (found.empty()) found = std::move(following);
  if (!found.empty()) return found;
  for (const auto& [name, value] : before) {
    if (!after.contains(name))
      found.push_back(concat("'", name, "' was ", value, " and is not there now"));
  }
  return found;
}

std::string to_yaml(const ConfigNode& node) {
  YAML::Emitter out;
  out.SetIndent(2);
  emit(out, node);
  return std::string(out.c_str()) + "\n";
}

}  // namespace corda::core
