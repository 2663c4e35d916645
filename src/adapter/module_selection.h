// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which modules an adapter_config.json names: target_modules, exclude_modules, layers_to_transform
// and layers_pattern, with the meaning that PEFT 0.21 gives them (check_target_module_exists).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/name_pattern.h"
#include "core/json.h"

namespace corda::adapter {

class ModuleSelection {
 public:
  ModuleSelection() = default;  // says nothing
  // Reads the four keys of a configuration. Throws FormatError.
  ModuleSelection(const core::Json& config, const std::string& source);

  // Whether the configuration restricts the modules at all.
  bool speaks() const { return speaks_; }
  // Whether PEFT makes an adapter for a linear layer or an embedding of this name; true where it
  // says nothing.
  bool contains(std::string_view module) const;

 private:
  // A list of last parts or full names, or one pattern.
  struct Names {
    std::vector<std::string> ends;
    std::optional<NamePattern> pattern;

    bool contain(std::string_view module) const;
  };
  static Names read_names(const core::Json& value, const char* key, const std::string& source);
  static std::optional<std::int64_t> block_in(const NamePattern& list, std::string_view module);
  bool in_chosen_block(std::string_view module) const;

  bool speaks_ = false;
  bool all_linear_ = false;
  Names targets_;
  Names excluded_;
  std::vector<std::int64_t> blocks_;  // empty: all
  std::vector<NamePattern> block_lists_;
};

// The number of a module's decoder block ("17" of "model.layers.17.mlp.up_proj"), if it has one.
std::optional<std::int64_t> block_of(std::string_view module);

}  // namespace corda::adapter
