// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// How a file is called while it is written, beside its place: known again where a process was
// killed before it was renamed.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace corda::core {

// Stands behind the file's name, before what tells one writer's from another's.
inline constexpr std::string_view kUnfinished = ".tmp-";

// Whether `file` is what somebody writes, or left, of a file called `name`.
inline bool is_unfinished(const std::filesystem::path& file, std::string_view name) {
  return file.filename().string().starts_with(std::string(name) + std::string(kUnfinished));
}

}  // namespace corda::core
