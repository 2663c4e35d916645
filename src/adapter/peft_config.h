// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// adapter_config.json as PEFT writes and reads it, down to what corda can honour.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "adapter/module_selection.h"
#include "adapter/name_pattern.h"
#include "core/json.h"

namespace corda::adapter {

namespace fs = std::filesystem;

struct PeftConfig {
  // The modules that a pattern matches have a rank or an alpha of their own.
  template <typename Value>
  struct Exception {
    std::string pattern;  // as in the file
    Value value;
    std::optional<NamePattern> matcher = {};  // made where a file was read
  };

  std::int64_t rank = 0;  // the rank of the stored product
  double alpha = 0;       // lora_alpha
  bool use_rslora = false;
  double dropout = 0;
  bool use_dora = false;
  std::string base_name;
  std::vector<Exception<std::int64_t>> ranks;  // rank_pattern, in the order of the file
  std::vector<Exception<double>> alphas;       // alpha_pattern
  ModuleSelection selection = {};              // what a file that was read selects
  // What is written to a file: last parts of module names or full names, and the blocks that have
  // an adapter (all where it is empty).
  std::vector<std::string> target_modules = {};
  std::vector<std::int64_t> layers_to_transform = {};
  std::string exclude_modules = {};  // a pattern of whole names; "": none

  // The rank of a module's stored product, and the alpha for which alpha / rank is its scale, so
  // with use_rslora lora_alpha times the root of that rank. The first pattern that matches counts.
  std::int64_t rank_of(const std::string& module) const;
  double alpha_of(const std::string& module) const;
  double scaling_alpha(double lora_alpha, std::int64_t for_rank) const;
};

core::Json to_json(const PeftConfig& config);

// Reads `directory`/adapter_config.json. Throws IoError where it is missing, FormatError for every
// option that changes the mathematics in a way corda does not implement, by its name.
PeftConfig read_peft_config(const fs::path& directory);

}  // namespace corda::adapter
