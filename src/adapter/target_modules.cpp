// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "adapter/target_modules.h"

#include <algorithm>

#include "corda/core/error.h"
#include "corda/core/text.h"

namespace corda::adapter {

std::vector<std::string> expand_targets(const std::vector<std::string>& targets,
                                        const std::vector<std::string>& projections) {
  if (std::find(targets.begin(), targets.end(), kAllLinear) == targets.end()) return targets;
  if (targets.size() > 1) {
    throw core::ConfigError(core::concat("the target module '", kAllLinear,
                                         "' means every linear layer, so it stands alone; it is "
                                         "given with ",
                                         targets.size() - 1, " more"));
  }
  std::vector<std::string> leaves;
  for (const auto& module : projections) {
    std::string leaf(core::last_part(module));
    if (std::find(leaves.begin(), leaves.end(), leaf) == leaves.end())
      leaves.push_back(std::move(leaf));
  }
  return leaves;
}

}  // namespace corda::adapter
