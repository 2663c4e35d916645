// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/roles.h"

#include <algorithm>
#include <array>
#include <map>

namespace corda::data {

namespace {

constexpr std::array<std::string_view, 11> kRoles = {
    "system",      "user",    "assistant",   "tool",         "developer", "function",
    "environment", "ipython", "observation", "tool_results", "critic"};

const std::map<std::string_view, std::string_view>& roles_of_speakers() {
  static const std::map<std::string_view, std::string_view> kNames = {
      {"human", "user"},          {"user", "user"},
      {"prompter", "user"},       {"gpt", "assistant"},
      {"chatgpt", "assistant"},   {"bing", "assistant"},
      {"bard", "assistant"},      {"bot", "assistant"},
      {"chatbot", "assistant"},   {"ai", "assistant"},
      {"assistant", "assistant"}, {"model", "assistant"},
      {"system", "system"},       {"observation", "tool"},
      {"tool", "tool"},           {"tool_response", "tool"},
      {"tool_result", "tool"},    {"function_response", "tool"},
      {"developer", "developer"}, {"function_call", kCallRole},
      {"tool_call", kCallRole}};
  return kNames;
}

}  // namespace

bool is_known_role(std::string_view role) {
  return std::find(kRoles.begin(), kRoles.end(), role) != kRoles.end();
}

std::optional<std::string> role_of_speaker(std::string_view name) {
  const auto known = roles_of_speakers().find(name);
  if (known == roles_of_speakers().end()) return std::nullopt;
  return std::string(known->second);
}

std::vector<std::string> speakers() {
  std::vector<std::string> names;
  for (const auto& [name, role] : roles_of_speakers()) names.emplace_back(name);
  return names;
}

}  // namespace corda::data
