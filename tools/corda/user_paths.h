// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Paths as users write them, and where a user's files are.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "corda/core/settings.h"

namespace corda::tools {

// `path` with "~" or "~user" at its front replaced by that user's home, as a shell does where it
// stands at the front of a word. Throws ConfigError where there is no such user, and for "$NAME"
// and
// "${NAME}", which nobody expands behind "=" or in a file: a folder of that name would be made.
std::string user_path(const std::string& path);

// What a path of that kind stands for, the one resolver of all verbs. A model or adapter: a folder
// that is there as it is, else "org/name", "org/name@revision" or "hf://org/name" in the Hugging
// Face cache. Data: a file, the files that match a pattern (at least one, sorted), or
// "hf://datasets/org/name/FILE-OR-PATTERN". Throws IoError, with the command that fetches it, for
// what is neither here nor in the cache.
std::vector<std::string> paths_of(const std::string& path, core::PathKind kind);

// `paths_of` for every path in the settings.
void expand_paths(const core::SettingsList& list);

// Where huggingface_hub keeps what it fetched: $HF_HUB_CACHE, else $HF_HOME/hub, else
// huggingface/hub in $XDG_CACHE_HOME or ~/.cache.
std::filesystem::path hub_cache_directory();

// Where this user's programs keep what they can make again: $XDG_CACHE_HOME/corda, else
// ~/.cache/corda; empty where neither is known.
std::filesystem::path cache_directory();

}  // namespace corda::tools
