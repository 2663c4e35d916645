// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A configuration file as a tree of scalars, lists and maps that remembers where each value stood.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace corda::core {

struct ConfigNode {
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  std::string text;                                         // kScalar, as written
  std::vector<ConfigNode> items;                            // kList
  std::vector<std::pair<std::string, ConfigNode>> entries;  // kMap, in the order of the file
  std::string where;  // "train.yaml:12"; of a value in a map, the line of its key

  // "train.yaml:12: " for the beginning of a message; "" where the node is from no file.
  std::string place() const;

  static ConfigNode scalar(std::string text);
  static ConfigNode list(const std::vector<std::string>& values);
  // The entry of that key, or nullptr.
  const ConfigNode* find(std::string_view key) const;
};

// Parses YAML (block and flow). Aliases are written out, and `<<` takes over the entries of other
// maps that a map does not have itself. Throws FormatError with `source`:line for malformed text,
// duplicate keys and a second document.
ConfigNode parse_yaml(std::string_view text, const std::string& source);

// "'optim.lr' was 0.1 and is 0.2 now" for each leaf of `now` that is another or none in `saved`,
// by its dotted name; of hashes "'data' is another one now". Leaves named in `derived` follow from
// others: where one of these differs, it is the reason, and only it is named. Where nothing does,
// "'center' was true and is not there now" for each leaf of `saved` that `now` has not.
std::vector<std::string> differences(const ConfigNode& saved, const ConfigNode& now,
                                     const std::set<std::string>& derived = {});

// Block YAML that parse_yaml reads back to the same tree.
std::string to_yaml(const ConfigNode& node);

}  // namespace corda::core
