// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "card/markdown.h"

#include <algorithm>
#include <iterator>

#include "corda/core/error.h"
#include "corda/core/text.h"

namespace corda::card {

using core::concat;

std::string plain(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (std::string_view("\\`*_[]<>|#").find(c) != std::string_view::npos) result += '\\';
    result += c;
  }
  return result;
}

// Snapshots of data sets stand in the cache as datasets--ORG--NAME/snapshots/COMMIT/...
Data data_of(const fs::path& path) {
  constexpr std::string_view kFolder = "datasets--";
  for (auto part = path.begin(); part != path.end(); ++part) {
    std::string name = part->string();
    const auto next = std::next(part);
    if (!name.starts_with(kFolder) || next == path.end() || *next != "snapshots") continue;
    name.erase(0, kFolder.size());
    if (const auto separator = name.find("--"); separator != std::string::npos)
      name.replace(separator, 2, "/");
    return {.name = name, .on_hub = true};
  }
  return {.name = path.filename().string(), .on_hub = false};
}

std::vector<Data> data_at(const std::vector<std::string>& paths) {
  std::vector<Data> result;
  for (const std::string& path : paths) {
    if (path.empty()) continue;
    const Data found = data_of(path);
    const bool known = std::any_of(result.begin(), result.end(),
                                   [&](const Data& other) { return other.name == found.name; });
    if (!known) result.push_back(found);
  }
  return result;
}

std::string listed(const std::vector<Data>& data) {
  std::vector<std::string> names;
  for (const Data& one : data) {
    names.push_back(one.on_hub ? concat("[", plain(one.name), "](https://huggingface.co/datasets/",
                                        one.name, ")")
                               : concat("`", one.name, "`"));
  }
  return core::join(names, ", ");
}

}  // namespace corda::card
