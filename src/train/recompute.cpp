// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/recompute.h"

#include <algorithm>
#include <array>

#include "corda/core/error.h"
#include "corda/core/text.h"

namespace corda::train {

namespace {

struct Row {
  Recompute recompute;
  std::string_view name;
  const char* what;
};

constexpr std::array<Row, 3> kTable = {{{Recompute::kNone, "none", "nothing"},
                                        {Recompute::kSelective, "selective", "gate and up"},
                                        {Recompute::kBlock, "block", "every block"}}};

const Row& row_of(Recompute recompute) {
  const auto found = std::ranges::find(kTable, recompute, &Row::recompute);
  if (found == kTable.end())
    throw core::InternalError(
        core::concat("[train::row_of] no Recompute ", static_cast<int>(recompute)));
  return *found;
}

}  // namespace

std::vector<std::string> recompute_names() {
  std::vector<std::string> names;
  for (const Row& row : kTable) names.emplace_back(row.name);
  return names;
}

std::string name_of(Recompute recompute) { return std::string(row_of(recompute).name); }

Recompute recompute_named(std::string_view name) {
  const auto found = std::ranges::find(kTable, name, &Row::name);
  if (found == kTable.end())
    throw core::ConfigError(core::concat("'recompute' must be one of ",
                                         core::join(recompute_names(), ", "), "; it is '", name,
                                         "'"));
  return found->recompute;
}

std::string describe(Recompute recompute) { return row_of(recompute).what; }

}  // namespace corda::train
