// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A record as a list of messages, in the form that chat templates expect.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "corda/data/sample.h"
#include "core/json.h"
#include "data/record_reader.h"

namespace corda::data {

struct Message {
  core::Json value;           // {"role": ..., "content": ..., "tool_calls": [...], ...}
  std::optional<bool> train;  // what the data say of this message alone

  const std::string& role() const;
};

struct Conversation {
  std::vector<Message> messages;
  core::Json tools;               // a list, or null
  bool parsed_arguments = false;  // arguments of a tool call were text and became an object
};

// The conversation of a record of any format but `text`. `messages`: as OpenAI's API has them;
// contents that are lists of text parts become one text, arguments of tool calls that are the text
// of a JSON object become that object, and `train` or `weight` are taken out. `sharegpt`: turns of
// `from` and `value` with the usual names (human, gpt, function_call, observation, ...).
// Instruction formats become a user's and an assistant's message after `system` and `history`. A
// `system` that is not empty replaces the system message of the data, or becomes the first message.
// Throws FormatError with the record's place.
// With `parse_arguments` false they stay text.
Conversation conversation_of(const DataFile& file, const Record& record, const std::string& format,
                             const std::string& system, bool parse_arguments = true);

// Of the one that is trained, under either of its names.
bool is_assistant(const Message& message);

// Whether a template may build its special tokens from that role ("<|" + role + "|>").
bool is_known_role(const std::string& role);

}  // namespace corda::data
