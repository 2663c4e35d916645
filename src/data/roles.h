// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The names of those who speak in conversations.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace corda::data {

// Whether chat templates know that role by this name. A template may build its special tokens from
// it ("<|" + role + "|>"). Not `model`: templates that write it (Gemma's) make it of `assistant`.
bool is_known_role(std::string_view role);

// What `kCallRole` stands for: an assistant's message whose text is the JSON of a tool call.
inline constexpr std::string_view kCallRole = "call";

// The role of a speaker by the names that data sets use (human, gpt, bot, function_call, ...).
std::optional<std::string> role_of_speaker(std::string_view name);
std::vector<std::string> speakers();

}  // namespace corda::data
