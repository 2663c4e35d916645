// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "adapter/module_selection.h"

#include <algorithm>

#include "corda/core/error.h"
#include "corda/core/text.h"

namespace corda::adapter {

using core::concat;
using core::FormatError;
using core::Json;

namespace {

bool says_nothing(const Json& config, const char* key) {
  return !config.contains(key) || config.at(key).is_null();
}

// The parts of a name up to its first number that has a list before it and a module behind it.
std::vector<std::string> parts_before_block(std::string_view module, std::size_t first) {
  std::vector<std::string> parts = core::split(module, '.');
  for (std::size_t i = first; i + 1 < parts.size(); ++i) {
    const std::string& part = parts[i];
    if (part.empty() || part.find_first_not_of("0123456789") != std::string::npos) continue;
    parts.resize(i + 1);
    return parts;
  }
  return {};
}

}  // namespace

std::optional<std::int64_t> block_of(std::string_view module) {
  const auto parts = parts_before_block(module, 2);
  return parts.empty() ? std::nullopt : core::parse_int(parts.back());
}

bool ModuleSelection::Names::contain(std::string_view module) const {
  if (pattern) return pattern->matches(module);
  return std::any_of(ends.begin(), ends.end(), [&](const std::string& end) {
    return module == end || module.ends_with("." + end);
  });
}

ModuleSelection::Names ModuleSelection::read_names(const Json& value, const char* key,
                                                   const std::string& source) {
  Names names;
  if (value.is_string()) {
    names.pattern.emplace(value.get<std::string>(), concat("'", source, "': '", key, "'"));
    return names;
  }
  const bool texts = value.is_array() && std::all_of(value.begin(), value.end(),
                                                     [](const Json& v) { return v.is_string(); });
  if (!texts) {
    throw FormatError(concat("'", source, "': '", key,
                             "' must be a pattern or a list of names; it is ",
                             value.dump(-1, ' ', false, Json::error_handler_t::replace)));
  }
  for (const Json& name : value) names.ends.push_back(name.get<std::string>());
  return names;
}

ModuleSelection::ModuleSelection(const Json& config, const std::string& source) {
  if (!says_nothing(config, "target_modules")) {
    const Json& targets = config.at("target_modules");
    speaks_ = true;
    all_linear_ =
        targets.is_string() && core::to_lower_ascii(targets.get<std::string>()) == "all-linear";
    if (!all_linear_) targets_ = read_names(targets, "target_modules", source);
  }
  if (!says_nothing(config, "exclude_modules") && !config.at("exclude_modules").empty())
    excluded_ = read_names(config.at("exclude_modules"), "exclude_modules", source);
  if (says_nothing(config, "layers_to_transform")) return;
  const Json& chosen = config.at("layers_to_transform");
  for (const Json& block : chosen.is_array() ? chosen : Json::array({chosen})) {
    if (!block.is_number_integer()) {
      throw FormatError(concat("'", source,
                               "': 'layers_to_transform' must be numbers of blocks; it is ",
                               chosen.dump(-1, ' ', false, Json::error_handler_t::replace)));
    }
    blocks_.push_back(block.get<std::int64_t>());
  }
  if (says_nothing(config, "layers_pattern")) return;
  const Json& lists = config.at("layers_pattern");
  for (const Json& list : lists.is_array() ? lists : Json::array({lists})) {
    if (!list.is_string())
      throw FormatError(concat("'", source, "': 'layers_pattern' must be text"));
    if (const auto text = list.get<std::string>(); !text.empty())
      block_lists_.push_back(NamePattern::suffix(text, concat("'", source, "': 'layers_pattern'")));
  }
}

bool ModuleSelection::in_chosen_block(std::string_view module) const {
  std::optional<std::int64_t> block = block_of(module);
  if (!block_lists_.empty()) {
    const std::vector<std::string> parts = parts_before_block(module, 1);
    if (parts.empty()) return false;
    const std::string list = core::join({parts.begin(), parts.end() - 1}, ".");
    const bool named = std::any_of(block_lists_.begin(), block_lists_.end(),
                                   [&](const auto& pattern) { return pattern.matches(list); });
    block = named ? core::parse_int(parts.back()) : std::nullopt;
  }
  return block && std::find(blocks_.begin(), blocks_.end(), *block) != blocks_.end();
}

bool ModuleSelection::contains(std::string_view module) const {
  if (excluded_.contain(module)) return false;
  if (!speaks_) return true;
  if (all_linear_) return module != "lm_head";
  if (!targets_.contain(module)) return false;
  // PEFT takes a full name as it is, and a pattern too, whatever layers_to_transform says.
  const bool by_itself = targets_.pattern || std::find(targets_.ends.begin(), targets_.ends.end(),
                                                       module) != targets_.ends.end();
  return by_itself || blocks_.empty() || in_chosen_block(module);
}

}  // namespace corda::adapter
