// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Where real data lies: $CORDA_SHARED, else the folder beside the sources.
#pragma once

#include <cstdlib>
#include <filesystem>

namespace corda::tokenizer {

inline std::filesystem::path shared_folder() {
  namespace fs = std::filesystem;
  const char* given = std::getenv("CORDA_SHARED");
  return (given != nullptr ? fs::path(given) : fs::path(CORDA_SOURCE_DIR) / ".." / "shared") /
         "data";
}

}  // namespace corda::tokenizer
