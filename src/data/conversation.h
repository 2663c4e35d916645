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
  core::Json value;                // {"role": ..., "content": ..., "tool_calls": [...], ...}
  std::optional<bool> train = {};  // what the data say of this message alone
  bool in_prompt = false;          // of a list of its own that is given, not learnt

  const std::string& role() const;
};

struct Conversation {
  std::vector<Message> messages;
  core::Json tools;               // a list, or null
  bool parsed_arguments = false;  // arguments of a tool call were text and became an object
  bool legacy_calls = false;      // `function_call` became a tool call
  bool dropped_nulls = false;     // of arguments or tools, members that were null were taken out
};

// The conversation of a record of any format but `text`.
//
// `messages` and `sharegpt`: a list of messages, or its JSON text; each with `role` and `content`
// as in OpenAI's API, or `from` and `value`. Roles and speakers have the usual names (human, gpt,
// model, bot, function_call, observation, ...). Keys that are null are absent. Contents that are
// lists of text parts become one text. `function_call` becomes a tool call, arguments that are the
// text of a JSON object become that object (they stay text where `parse_arguments` is false), and
// `train`, `loss` and `weight` are taken out. `messages` may also be two lists, `prompt` and
// `completion`. Instruction formats become a user's and an assistant's message after `system` and
// `history`. A `system` that is not empty replaces the system message of the data, or becomes the
// first message. Throws FormatError with the record's place.
Conversation conversation_of(const DataFile& file, const Record& record, const std::string& format,
                             const std::string& system, bool parse_arguments = true);

// Whether the message is by the assistant, who is trained.
bool is_assistant(const Message& message);

}  // namespace corda::data
