// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/encode_settings.h"

#include <algorithm>

#include "corda/core/error.h"
#include "corda/core/text.h"

namespace corda::data {

void check_choice(const char* what, const std::string& word,
                  const std::vector<std::string>& choices) {
  if (std::find(choices.begin(), choices.end(), word) != choices.end()) return;
  throw core::ConfigError(core::concat("unknown ", what, " '", word, "'",
                                       core::suggestion(word, choices), "; it is one of ",
                                       core::join(choices, ", ")));
}

void check_encode_settings(const EncodeSettings& settings) {
  check_choice("template", settings.template_name, {"alpaca", "plain"});
  check_choice("treatment of overlong samples", settings.overlong, {"truncate", "drop"});
  if (settings.max_length < 0 || settings.max_length == 1) {
    throw core::ConfigError(
        core::concat("max_length must be 0 (no limit) or at least 2; it is ", settings.max_length));
  }
}

}  // namespace corda::data
