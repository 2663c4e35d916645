// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Refuses settings that were asked for where nothing looks at them.
#pragma once

#include <string>
#include <vector>

#include "corda/core/settings.h"

namespace corda::core {

// Throws ConfigError where any of `names` has another value in `settings` than in a struct that
// nobody touched: "'predictions', 'compare' are WHY". `list_of` lists the members of the struct.
// Who asks for the usual value asks for nothing.
template <typename Settings>
void refuse_changed(const Settings& settings, SettingsList (*list_of)(Settings&),
                    const std::vector<std::string>& names, const std::string& why) {
  Settings asked = settings;
  Settings untouched;
  refuse_changed(list_of(asked), list_of(untouched), names, why);
}

}  // namespace corda::core
