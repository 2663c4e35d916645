// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "model/misfits.h"

#include <algorithm>
#include <set>

#include "corda/core/error.h"
#include "corda/core/text.h"

namespace corda::model {

using core::concat;

namespace {

// What stands before a missing name in the names of the file ("base_model.model."), if it stands
// before every missing one that is there under a longer name.
std::string prefix_in_the_file(const std::vector<std::string>& missing,
                               const std::vector<std::string>& surplus) {
  const std::set<std::string> there(surplus.begin(), surplus.end());
  for (const std::string& found : surplus) {
    if (found.size() <= missing.front().size() || !found.ends_with("." + missing.front())) continue;
    std::string prefix = found.substr(0, found.size() - missing.front().size());
    const bool everywhere =
        std::all_of(missing.begin(), missing.end(),
                    [&](const std::string& name) { return there.contains(prefix + name); });
    if (everywhere) return prefix;
  }
  return "";
}

std::string likely_cause(const Misfits& found, std::int64_t num_layers) {
  if (!found.missing.empty()) {
    if (const std::string prefix = prefix_in_the_file(found.missing, found.surplus);
        !prefix.empty()) {
      return concat("the file has these names with '", prefix,
                    "' before them: save the model itself, not what wraps it");
    }
    if (found.surplus.empty() && found.misshapen.empty())
      return "is one of the model's files absent or cut off?";
  }
  const auto is_deeper = [&](const std::string& name) {
    const std::vector<std::string> parts = core::split(name, '.');
    return std::any_of(parts.begin(), parts.end(), [&](const std::string& part) {
      return core::parse_int(part).value_or(-1) >= num_layers;
    });
  };
  if (!found.surplus.empty() && std::all_of(found.surplus.begin(), found.surplus.end(), is_deeper))
    return concat("config.json has num_hidden_layers ", num_layers, ", the file has more");
  return "is config.json that of these files?";
}

}  // namespace

std::string Misfits::describe(std::int64_t num_layers) const {
  std::vector<std::string> kinds;
  if (!missing.empty())
    kinds.push_back(concat(missing.size(), " missing: ", core::listed_names(missing)));
  if (!surplus.empty())
    kinds.push_back(concat(surplus.size(), " surplus: ", core::listed_names(surplus)));
  if (!misshapen.empty())
    kinds.push_back(concat(misshapen.size(), " of another shape: ", core::listed(misshapen, "; ")));
  if (!mistyped.empty())
    kinds.push_back(concat(mistyped.size(), " of another type: ", core::listed(mistyped, "; ")));
  return concat(core::join(kinds, "; "), "; ", likely_cause(*this, num_layers));
}

}  // namespace corda::model
