// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The folders of real data and real models that some tests use and that are no part of the source.
#pragma once

#include <cstdlib>
#include <filesystem>

namespace corda::testing {

// CORDA_SHARED/data, or ../shared/data beside the source. It need not exist.
inline std::filesystem::path data_folder() {
  namespace fs = std::filesystem;
  const char* given = std::getenv("CORDA_SHARED");
  return (given != nullptr ? fs::path(given) : fs::path(CORDA_SOURCE_DIR) / ".." / "shared") /
         "data";
}

// CORDA_MODELS, or ../models beside the source. It need not exist.
inline std::filesystem::path models_folder() {
  namespace fs = std::filesystem;
  const char* given = std::getenv("CORDA_MODELS");
  return given != nullptr ? fs::path(given) : fs::path(CORDA_SOURCE_DIR) / ".." / "models";
}

}  // namespace corda::testing
