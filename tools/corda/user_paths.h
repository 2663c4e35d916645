// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Paths as users write them, and where a user's files are.
#pragma once

#include <filesystem>
#include <string>

#include "corda/core/settings.h"

namespace corda::tools {

// `path` with "~" or "~user" at its front replaced by that user's home, as a shell does where it
// stands at the front of a word. Throws ConfigError where there is no such user, and for "$NAME"
// and
// "${NAME}", which nobody expands behind "=" or in a file: a folder of that name would be made.
std::string user_path(const std::string& path);

// `user_path` of every path in the settings.
void expand_paths(const core::SettingsList& list);

// Where this user's programs keep what they can make again: $XDG_CACHE_HOME/corda, else
// ~/.cache/corda; empty where neither is known.
std::filesystem::path cache_directory();

}  // namespace corda::tools
