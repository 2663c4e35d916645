// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What every reader of samples checks before it begins.
#pragma once

#include "corda/data/load.h"

namespace corda::data {

// Throws ConfigError for an unknown word or a length out of range.
void check_encode_settings(const EncodeSettings& settings);

// Throws ConfigError unless `word` is one of `choices`.
void check_choice(const char* what, const std::string& word,
                  const std::vector<std::string>& choices);

}  // namespace corda::data
