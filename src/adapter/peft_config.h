// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// adapter_config.json as PEFT writes and reads it, down to what corda can honour.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"

namespace corda::adapter {

namespace fs = std::filesystem;

struct PeftConfig {
  std::int64_t rank = 0;  // of the stored product
  double alpha =
      0;  // with use_rslora already multiplied by sqrt(rank), so that alpha / rank is the scale
  double dropout = 0;
  bool use_dora = false;
  std::string base_name;
  // Last parts of module names; empty where the file has a pattern, "all-linear" or nothing.
  std::vector<std::string> target_modules;
};

core::Json to_json(const PeftConfig& config);

// Reads `directory`/adapter_config.json. Throws IoError where it is missing, FormatError for every
// option that changes the mathematics in a way corda does not implement, by its name.
PeftConfig read_peft_config(const fs::path& directory);

}  // namespace corda::adapter
