// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which layers a user's list of target modules means.
#pragma once

#include <string>
#include <vector>

namespace corda::adapter {

// PEFT's word for every linear layer of the blocks.
inline constexpr const char* kAllLinear = "all-linear";

// `targets`, or in place of kAllLinear the last name parts of `projections`, the linear layers of
// the model's blocks (not the head), each once in their order. Throws ConfigError where kAllLinear
// does not stand alone.
std::vector<std::string> expand_targets(const std::vector<std::string>& targets,
                                        const std::vector<std::string>& projections);

}  // namespace corda::adapter
