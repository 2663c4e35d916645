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

bool is_number(const std::string& part) {
  return !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
}

}  // namespace

std::optional<std::int64_t> block_of(std::string_view module) {
  const std::vector<std::string> parts = core::split(module, '.');
  for (std::size_t i = 2; i + 1 < parts.size(); ++i) {
    if (is_number(parts[i])) return core::parse_int(parts[i]);
  }
  return std::nullopt;
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

// The number of the block that a module belongs to: the first one in its name that stands behind
// the name of a list of blocks.
std::optional<std::int64_t> ModuleSelection::block_in(const NamePattern& list,
                                                      std::string_view module) {
  const std::vector<std::string> parts = core::split(module, '.');
  std::string before = parts.front();
  for (std::size_t i = 1; i + 1 < parts.size(); ++i) {
    if (is_number(parts[i]) && list.matches(before)) return core::parse_int(parts[i]);
    before += "." + parts[i];
  }
  return std::nullopt;
}

bool ModuleSelection::in_chosen_block(std::string_view module) const {
  std::optional<std::int64_t> block = block_lists_.empty() ? block_of(module) : std::nullopt;
  for (const auto& list : block_lists_) {
    if (!block) block = block_in(list, module);
  }
  const std::int64_t number = block.value_or(-1);
  return number >= 0 && std::find(blocks_.begin(), blocks_.end(), number) != blocks_.end();
}

bool ModuleSelection::contains(std::string_view module) const {
  if (excluded_.contain(module)) return false;
  if (!speaks_) return true;
  if (all_linear_) return module != "lm_head" && !module.ends_with("embed_tokens");
  if (!targets_.contain(module)) return false;
  // PEFT takes a full name as it is, and a pattern too, whatever layers_to_transform says.
  const bool by_itself = targets_.pattern || std::find(targets_.ends.begin(), targets_.ends.end(),
                                                       module) != targets_.ends.end();
  return by_itself || blocks_.empty() || in_chosen_block(module);
}

}  // namespace corda::adapter
