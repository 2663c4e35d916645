// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/conversation.h"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "data/formats.h"
#include "data/record_fields.h"
#include "data/roles.h"
#include "data/tool_fields.h"

namespace corda::data {

using core::concat;
using core::Json;

namespace {

// A number somewhere in the value whose digits reading has not kept, or a template cannot, or
// nullptr.
const Json* number_beyond_reading(const Json& value) {
  const bool beyond_template = value.is_number_unsigned() &&
                               value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX);
  if (is_beyond_reading(value) || beyond_template) return &value;
  if (!value.is_structured()) return nullptr;
  for (const Json& item : value) {
    if (const Json* found = number_beyond_reading(item)) return found;
  }
  return nullptr;
}

std::string keys_of(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys.empty() ? "none" : core::listed(keys);
}

// One conversation being read; knows where it is for its messages.
class Reader {
 public:
  Reader(const DataFile& file, const Record& record, std::string format, bool parse_arguments)
      : file_(file),
        record_(record),
        format_(std::move(format)),
        arguments_(parse_arguments ? Arguments::kObjects : Arguments::kAsText) {}

  Conversation read() {
    if (is_chat_format(format_)) {
      read_turns();
      if (conversation_.legacy_calls) rename_results();
      read_tools();
      const std::string system = optional_text(file_, record_, "system");
      if (!system.empty()) add_system(system);
      check_numbers();
    } else {
      read_instruction();
    }
    return std::move(conversation_);
  }

  static void set_system(Conversation& conversation, const std::string& system) {
    Message message{.value = {{"role", "system"}, {"content", system}}};
    auto& messages = conversation.messages;
    if (!messages.empty() && messages.front().role() == "system") {
      messages.front() = std::move(message);
    } else {
      messages.insert(messages.begin(), std::move(message));
    }
  }

 private:
  [[noreturn]] void fail_here(const std::string& reason) const {
    fail(file_, record_, at_ < 0 ? reason : concat(list_, "message ", at_, ": ", reason));
  }

  void add_system(const std::string& system) {
    const Message& first = conversation_.messages.front();
    if (first.role() == "system" && first.value.value("content", Json()) != Json(system)) {
      fail_here(concat("the column '", column_of(file_, "system"),
                       "' and message 0 both hold a system prompt, and they differ; keep one of "
                       "them"));
    }
    set_system(conversation_, system);
  }

  // Returns what `action` returns; its errors get the place.
  template <typename Action>
  auto placed(const std::string& before, Action action) const {
    try {
      return action();
    } catch (const core::FormatError& error) {
      fail_here(before + error.what());
    }
  }

  void read_turns() {
    const char* field = format_ == "messages" ? "messages" : "conversations";
    if (format_ == "messages" && find_value(file_, record_, field) == nullptr &&
        find_value(file_, record_, "prompt") != nullptr &&
        find_value(file_, record_, "completion") != nullptr) {
      list_ = "prompt, ";
      read_list("prompt");
      for (Message& message : conversation_.messages) message.in_prompt = true;
      list_ = "completion, ";
      read_list("completion");
      return;
    }
    read_list(field);
  }

  void read_list(const char* field) {
    const Json* value = find_field(file_, record_, field);
    if (value == nullptr) fail_missing(file_, record_, format_, field);
    const Json parsed = value->is_string() ? parsed_list(field, *value) : Json();
    const Json& list = value->is_string() ? parsed : *value;
    if (!list.is_array() || list.empty()) {
      fail_here(concat("the column '", column_of(file_, field),
                       "' must hold a list of messages; it holds ",
                       list.is_array() ? "an empty one" : list.type_name()));
    }
    for (const Json& item : list) {
      ++at_;
      if (!item.is_object())
        fail_here(concat("expected an object; found a value of type ", item.type_name()));
      conversation_.messages.push_back(read_message(item));
    }
    at_ = -1;
  }

  // Parses a list that a table holds as JSON text.
  Json parsed_list(const char* field, const Json& value) const {
    const auto& text = value.get_ref<const std::string&>();
    if (!core::trim(text).starts_with('[')) return value;
    const bool python = text.find("{'") != std::string::npos;
    return placed(
        concat("the column '", column_of(file_, field),
               "' holds a text that is no JSON list of messages",
               python ? " (it is written as Python prints one: use json.dumps)" : "", ": "),
        [&] { return core::parse_json(text, field); });
  }

  // A message as OpenAI's API has it (role, content) or as ShareGPT has it (from, value).
  Message read_message(const Json& item) {
    Message message{.value = item, .train = train_flag(item)};
    Json& value = message.value;
    for (auto member = value.begin(); member != value.end();) {
      if (member->is_null() && member.key() != "content") {
        member = value.erase(member);
      } else {
        ++member;
      }
    }
    for (const char* key : {"train", "loss", "weight"}) value.erase(key);
    const bool speaks = value.contains("from") && !value.contains("role");
    rename(value, "from", "role");
    rename(value, "value", "content");
    if (!value.contains("role")) {
      fail_here(
          concat("a message needs 'role' and 'content' (or 'from' and 'value'); its keys are: ",
                 keys_of(item)));
    }
    if (!value["role"].is_string())
      fail_here(concat("'role' must be text; it is of type ", value["role"].type_name()));
    const std::string role = role_of(value["role"].get<std::string>(), speaks);
    if (role == kCallRole) {
      read_call(value);
    } else {
      value["role"] = role;
      const bool calls = read_tool_calls(value);
      read_content(value, calls);
    }
    for (const char* key : {"reasoning", "reasoning_text"}) {
      if (value.contains(key) && !value.contains("reasoning_content"))
        value["reasoning_content"] = value[key];
    }
    return message;
  }

  void rename(Json& value, const char* from, const char* to) const {
    const auto found = value.find(from);
    if (found == value.end()) return;
    Json content = std::move(*found);
    value.erase(found);
    const auto other = value.find(to);
    if (other != value.end() && !other->is_null() && *other != content)
      fail_here(concat("it has '", from, "' and '", to, "', and they differ"));
    value[to] = std::move(content);
  }

  // Templates know roles by their names; one they do not know is often left out without a word.
  std::string role_of(const std::string& name, bool speaks) const {
    if (name.empty()) fail_here("the role is empty");
    const auto alias = role_of_speaker(name);
    if (speaks && alias) return *alias;
    if (is_known_role(name)) return name;
    if (alias) return *alias;
    const std::string lower = core::to_lower_ascii(name);
    if (speaks) {
      fail_here(concat("unknown speaker '", name, "'", core::suggestion(lower, speakers()),
                       "; the usual ones are human, gpt, system, function_call and observation"));
    }
    if (is_known_role(lower) || role_of_speaker(lower))
      fail_here(concat("unknown role '", name, "' (did you mean '", lower, "'?)"));
    return name;
  }

  // What the message says of itself: `train` or `loss`, true or false, or OpenAI's `weight`.
  std::optional<bool> train_flag(const Json& item) const {
    std::optional<bool> train;
    for (const char* key : {"train", "loss", "weight"}) {
      const auto found = item.find(key);
      if (found == item.end() || found->is_null()) continue;
      const bool number = key == std::string_view("weight");
      if (number && *found != 0 && *found != 1) fail_here("'weight' must be 0 or 1");
      if (!number && !found->is_boolean()) fail_here(concat("'", key, "' must be true or false"));
      const bool says = number ? *found == 1 : found->get<bool>();
      if (train && *train != says)
        fail_here("'train', 'loss' and 'weight' say different things of it; keep one of them");
      train = says;
    }
    return train;
  }

  // A text, a list of text parts, or, beside tool calls, null or nothing.
  void read_content(Json& message, bool calls) const {
    const auto content = message.find("content");
    if (content == message.end() || content->is_null()) {
      if (!calls) fail_here("'content' must be text; it is missing or null");
      return;
    }
    if (content->is_string()) return;
    if (!content->is_array())
      fail_here(concat("'content' must be text or a list of text parts; it is of type ",
                       content->type_name()));
    std::string text;
    for (const Json& part : *content) {
      if (part.is_string()) {
        text += part.get<std::string>();
        continue;
      }
      if (!is_text_part(part))
        fail_here("a part of 'content' is not text; images and sound are not supported");
      text += part["text"].get<std::string>();
    }
    message["content"] = std::move(text);
  }

  // {"type": "text", "text": ...}, in OpenAI's Responses input_text and output_text.
  static bool is_text_part(const Json& part) {
    if (!part.is_object() || !part.contains("text") || !part["text"].is_string()) return false;
    const auto type = part.find("type");
    return type == part.end() || type->is_null() || *type == "text" || *type == "input_text" ||
           *type == "output_text";
  }

  // Reads tool calls; false where there are none. An empty list counts as none, for tables have one
  // in every message.
  bool read_tool_calls(Json& message) {
    if (const auto legacy = message.find("function_call"); legacy != message.end()) {
      if (message.contains("tool_calls") && !message["tool_calls"].empty())
        fail_here("it has 'function_call' and 'tool_calls'; keep one of them");
      Json call = {{"type", "function"}, {"function", *legacy}};
      message.erase("function_call");
      message["tool_calls"] = Json::array({std::move(call)});
      conversation_.legacy_calls = true;
    }
    const auto calls = message.find("tool_calls");
    if (calls == message.end()) return false;
    const ToolChanges changes = placed("", [&] { return normalise_calls(*calls, arguments_); });
    conversation_.parsed_arguments = conversation_.parsed_arguments || changes.parsed;
    conversation_.dropped_nulls = conversation_.dropped_nulls || changes.dropped_nulls;
    if (!calls->empty()) return true;
    message.erase("tool_calls");
    return false;
  }

  // An assistant's message whose text is the call.
  void read_call(Json& message) {
    const auto text = message.find("content");
    if (text == message.end() || !text->is_string())
      fail_here("the text of a function call must be its JSON; it is missing or no text");
    Json calls = placed("", [&] { return calls_of_text(text->get<std::string>()); });
    message["role"] = "assistant";
    message["content"] = "";
    message["tool_calls"] = std::move(calls);
    read_tool_calls(message);
  }

  // Templates know the results of `function_call` by the role that they have beside `tool_calls`.
  void rename_results() {
    for (Message& message : conversation_.messages) {
      if (message.role() == "function") message.value["role"] = "tool";
    }
  }

  void read_tools() {
    for (const char* field : {"tools", "functions"}) {
      const Json* value = find_value(file_, record_, field);
      if (value == nullptr) continue;
      Json tools = placed(concat("the column '", column_of(file_, field), "': "), [&] {
        return tools_of(*value, field == std::string_view("functions"),
                        conversation_.dropped_nulls);
      });
      if (tools.is_null()) continue;
      if (!conversation_.tools.is_null())
        fail_here("the columns 'tools' and 'functions' both hold tools; keep one of them");
      conversation_.tools = std::move(tools);
    }
  }

  void check_numbers() const {
    const auto check = [&](const Json& value) {
      if (const Json* number = number_beyond_reading(value))
        fail_beyond_reading(file_, record_, *number);
    };
    for (const Message& message : conversation_.messages)
      check(message.value.value("tool_calls", Json()));
    check(conversation_.tools);
  }

  void add(const char* role, std::string content) {
    conversation_.messages.push_back({.value = {{"role", role}, {"content", std::move(content)}}});
  }

  void read_instruction() {
    if (format_ == "qa") {
      const QaRecord qa = qa_of(file_, record_);
      add("user", qa.question);
      add("assistant", qa.answers.front());
    } else if (format_ == "prompt-completion") {
      add("user", required_text(file_, record_, format_, "prompt"));
      add("assistant", required_text(file_, record_, format_, "completion"));
    } else if (format_ == "alpaca") {
      const std::string system = optional_text(file_, record_, "system");
      if (!system.empty()) add("system", system);
      read_history();
      add("user", joined(request_of(file_, record_)));
      add("assistant", required_text(file_, record_, format_, "output"));
    } else {
      throw core::InternalError(
          concat("[data::conversation_of] the format '", format_, "' has no messages"));
    }
  }

  // Reads earlier turns, [[instruction, output], ...].
  void read_history() {
    const Json* history = find_value(file_, record_, "history");
    if (history == nullptr) return;
    const auto is_turn = [](const Json& turn) {
      return turn.is_array() && turn.size() == 2 && turn[0].is_string() && turn[1].is_string();
    };
    if (!history->is_array() || !std::all_of(history->begin(), history->end(), is_turn))
      fail_here("'history' must be a list of pairs: [[instruction, output], ...]");
    for (const Json& turn : *history) {
      add("user", turn[0].get<std::string>());
      add("assistant", turn[1].get<std::string>());
    }
  }

  const DataFile& file_;
  const Record& record_;
  std::string format_;
  Arguments arguments_;
  Conversation conversation_;
  std::string list_;      // of two lists the one being read: "prompt, "
  std::int64_t at_ = -1;  // the message being read, or -1
};

}  // namespace

const std::string& Message::role() const { return value.at("role").get_ref<const std::string&>(); }

bool is_assistant(const Message& message) { return message.role() == "assistant"; }

Conversation conversation_of(const DataFile& file, const Record& record, const std::string& format,
                             const std::string& system, bool parse_arguments) {
  Conversation conversation = Reader(file, record, format, parse_arguments).read();
  if (!system.empty()) Reader::set_system(conversation, system);
  return conversation;
}

}  // namespace corda::data
