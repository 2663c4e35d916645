// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <set>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "report/sections.h"

namespace corda::report {

using core::concat;

namespace {

constexpr std::size_t kMostColours = 8;

// Settings that do not make two runs two kinds of run: where and how they were computed, what runs
// of one group may differ in, and what follows from the adapter.
const std::set<std::string> kNoKind = {"out",
                                       "seed",
                                       "optim.lr",
                                       "adapter",
                                       "train_a",
                                       "train_b",
                                       "shard",
                                       "log",
                                       "data.date",
                                       "device",
                                       "threads",
                                       "graphs",
                                       "tuning_cache",
                                       "data.cache",
                                       "gradients",
                                       "offload",
                                       "recompute",
                                       "method",
                                       "optim.micro_batch_tokens"};

bool makes_a_kind(const std::string& name) {
  return !kNoKind.contains(name) && !name.starts_with("checkpoint.") &&
         !name.starts_with("eval.") && !name.starts_with("gauge.");
}

const std::string& value_of(const Run& run, const std::string& name) {
  static const std::string none = "-";
  for (const auto& [key, value] : run.settings)
    if (key == name) return value;
  return none;
}

std::string kind_of(const Run& run, const std::vector<std::string>& differing) {
  std::vector<std::string> parts = {run.method};
  for (const std::string& name : differing) {
    if (makes_a_kind(name))
      parts.push_back(concat(core::last_part(name), " ", value_of(run, name)));
  }
  return core::join(parts, ", ");
}

}  // namespace

std::vector<std::string> differing_settings(const std::vector<Run>& runs) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const Run& run : runs) {
    for (const auto& [name, value] : run.settings)
      if (seen.insert(name).second) names.push_back(name);
  }
  std::erase_if(names, [&](const std::string& name) {
    return std::all_of(runs.begin(), runs.end(), [&](const Run& run) {
      return value_of(run, name) == value_of(runs.front(), name);
    });
  });
  return names;
}

Groups groups_of(const std::vector<Run>& runs) {
  const std::vector<std::string> differing = differing_settings(runs);
  Groups groups;
  for (const Run& run : runs) {
    const std::string name = run.group.empty() ? kind_of(run, differing) : run.group;
    const auto found = std::find(groups.names.begin(), groups.names.end(), name);
    groups.of.push_back(static_cast<std::size_t>(found - groups.names.begin()));
    if (found == groups.names.end()) groups.names.push_back(name);
  }
  return groups;
}

Colouring colouring_of(const std::vector<Run>& runs, const Groups& groups) {
  Colouring colouring;
  colouring.by_group = runs.size() > kMostColours;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    colouring.of.push_back({.number = colouring.by_group ? groups.of[i] : i});
    if (!colouring.by_group)
      colouring.legend.entries.push_back({runs[i].name, colouring.of.back()});
  }
  for (std::size_t i = 0; colouring.by_group && i < groups.names.size(); ++i)
    colouring.legend.entries.push_back({groups.names[i], {.number = i}});
  return colouring;
}

}  // namespace corda::report
