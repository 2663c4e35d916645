// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which layers a user's list of target modules means.
#pragma once

#include <string>
#include <vector>

namespace corda::adapter {

// PEFT's word for every linear layer of the blocks, in any case.
inline constexpr const char* kAllLinear = "all-linear";

// `targets`, or in place of kAllLinear the last name parts of `layers`, the linear layers of
// the model's blocks (not the head), each once in their order. Throws ConfigError where kAllLinear
// does not stand alone; `setting` is the name of the list.
std::vector<std::string> expand_targets(const std::string& setting,
                                        const std::vector<std::string>& targets,
                                        const std::vector<std::string>& layers);

// Those of `layers` that a list of targets names, in their order. As in PEFT's lists a target
// is a full name ("model.layers.0.self_attn.q_proj") or the end of one ("q_proj"). Throws
// ConfigError where one names nothing.
std::vector<std::string> select_targets(const std::string& setting,
                                        const std::vector<std::string>& targets,
                                        const std::vector<std::string>& layers);

}  // namespace corda::adapter
