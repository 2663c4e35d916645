// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/conversation.h"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "data/formats.h"
#include "data/record_fields.h"

namespace corda::data {

using core::concat;
using core::Json;

namespace {

constexpr std::array<std::string_view, 12> kRoles = {
    "system",      "user",    "assistant",   "tool",  "developer",    "function",
    "environment", "ipython", "observation", "model", "tool_results", "critic"};

// The names of roles in sharegpt data. `function_call` is an assistant's message whose value is the
// call.
const std::map<std::string_view, std::string_view>& sharegpt_roles() {
  static const std::map<std::string_view, std::string_view> kNames = {
      {"human", "user"},         {"user", "user"},
      {"prompter", "user"},      {"gpt", "assistant"},
      {"chatgpt", "assistant"},  {"bing", "assistant"},
      {"bard", "assistant"},     {"assistant", "assistant"},
      {"model", "assistant"},    {"system", "system"},
      {"observation", "tool"},   {"tool", "tool"},
      {"tool_response", "tool"}, {"function_response", "tool"},
      {"function_call", "call"}, {"tool_call", "call"}};
  return kNames;
}

std::vector<std::string> speakers() {
  std::vector<std::string> names;
  for (const auto& [name, role] : sharegpt_roles()) names.emplace_back(name);
  return names;
}

// One conversation being read; knows where it is for its messages.
class Reader {
 public:
  Reader(const DataFile& file, const Record& record, std::string format, bool parse_arguments)
      : file_(file),
        record_(record),
        format_(std::move(format)),
        parse_arguments_(parse_arguments) {}

  Conversation read() {
    if (format_ == "messages") {
      read_list("messages", [&](const Json& item) { return openai_message(item); });
    } else if (format_ == "sharegpt") {
      read_list("conversations", [&](const Json& item) { return sharegpt_message(item); });
    } else {
      read_instruction();
    }
    if (is_chat_format(format_)) {
      read_tools();
      const std::string system = optional_text(file_, record_, "system");
      if (!system.empty()) set_system(conversation_, system);
    }
    return std::move(conversation_);
  }

  static void set_system(Conversation& conversation, const std::string& system) {
    Message message{.value = {{"role", "system"}, {"content", system}}, .train = {}};
    auto& messages = conversation.messages;
    if (!messages.empty() && messages.front().role() == "system") {
      messages.front() = std::move(message);
    } else {
      messages.insert(messages.begin(), std::move(message));
    }
  }

 private:
  [[noreturn]] void fail_here(const std::string& reason) const {
    fail(file_, record_, at_ < 0 ? reason : concat("message ", at_, ": ", reason));
  }

  template <typename Convert>
  void read_list(const char* field, Convert convert) {
    const Json* list = find_field(file_, record_, field);
    if (list == nullptr) fail_missing(file_, record_, format_, field);
    if (!list->is_array() || list->empty()) {
      fail_here(concat("the column '", column_of(file_, field),
                       "' must hold a list of messages; it holds ",
                       list->is_array() ? "an empty one" : list->type_name()));
    }
    for (const Json& item : *list) {
      ++at_;
      if (!item.is_object())
        fail_here(concat("expected an object; found a value of type ", item.type_name()));
      conversation_.messages.push_back(convert(item));
    }
    at_ = -1;
  }

  std::string text_at(const Json& object, const char* key) const {
    const auto found = object.find(key);
    if (found == object.end()) fail_here(concat("the key '", key, "' is missing"));
    if (!found->is_string())
      fail_here(concat("'", key, "' must be text; it is of type ", found->type_name()));
    return found->get<std::string>();
  }

  Message openai_message(const Json& item) {
    Message message{.value = item, .train = train_flag(item)};
    message.value.erase("train");
    message.value.erase("weight");
    const std::string role = text_at(item, "role");
    if (role.empty()) fail_here("the role is empty");
    check_role(role);
    const bool calls = read_tool_calls(message.value);
    read_content(message.value, calls);
    for (const char* key : {"reasoning", "reasoning_text"}) {
      if (message.value.contains(key) && !message.value.contains("reasoning_content"))
        message.value["reasoning_content"] = message.value[key];
    }
    return message;
  }

  // Templates know roles by their names; one they do not know is often left out without a word.
  void check_role(const std::string& role) const {
    if (is_known_role(role)) return;
    const std::string lower = core::to_lower_ascii(role);
    if (is_known_role(lower))
      fail_here(concat("unknown role '", role, "' (did you mean '", lower, "'?)"));
  }

  std::optional<bool> train_flag(const Json& item) const {
    std::optional<bool> train;
    if (const auto found = item.find("train"); found != item.end() && !found->is_null()) {
      if (!found->is_boolean()) fail_here("'train' must be true or false");
      train = found->get<bool>();
    }
    if (const auto found = item.find("weight"); found != item.end() && !found->is_null()) {
      if (*found != 0 && *found != 1) fail_here("'weight' must be 0 or 1");
      train = *found == 1;
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
      const bool is_text = part.is_object() && part.value("type", Json("text")) == "text" &&
                           part.contains("text") && part["text"].is_string();
      if (!is_text)
        fail_here("a part of 'content' is not text; images and sound are not supported");
      text += part["text"].get<std::string>();
    }
    message["content"] = std::move(text);
  }

  // Whether there are any. `arguments` as text, which is how OpenAI's API has them, is the
  // commonest way to a doubly quoted prompt: templates print them as JSON.
  bool read_tool_calls(Json& message) {
    const auto calls = message.find("tool_calls");
    if (calls == message.end() || calls->is_null()) return false;
    if (!calls->is_array())
      fail_here(concat("'tool_calls' must be a list; it is of type ", calls->type_name()));
    for (Json& call : *calls) {
      if (!call.is_object()) fail_here("a tool call must be an object");
      Json& function = call.contains("function") ? call["function"] : call;
      if (!function.is_object() || !function.contains("name") || !function["name"].is_string())
        fail_here("a tool call must name its function");
      if (!parse_arguments_ || !function.contains("arguments") ||
          !function["arguments"].is_string())
        continue;
      Json parsed = parsed_object(function["arguments"].get<std::string>());
      if (parsed.is_null()) continue;
      function["arguments"] = std::move(parsed);
      conversation_.parsed_arguments = true;
    }
    return !calls->empty();
  }

  static Json parsed_object(const std::string& text) {
    try {
      Json parsed = core::parse_json(text, "arguments");
      return parsed.is_object() ? parsed : Json();
    } catch (const core::FormatError&) {
      return {};
    }
  }

  Message sharegpt_message(const Json& item) {
    if (!item.contains("from") && item.contains("role")) return openai_message(item);
    const std::string from = text_at(item, "from");
    const auto known = sharegpt_roles().find(from);
    if (known == sharegpt_roles().end())
      fail_here(concat("unknown speaker '", from, "'",
                       core::suggestion(core::to_lower_ascii(from), speakers()),
                       "; the usual ones are human, gpt, system, function_call and observation"));
    const std::string value = text_at(item, "value");
    Message message{.value = {}, .train = train_flag(item)};
    if (known->second == "call") {
      message.value = {{"role", "assistant"}, {"content", ""}, {"tool_calls", calls_of(value)}};
    } else {
      message.value = {{"role", std::string(known->second)}, {"content", value}};
    }
    return message;
  }

  // {"name": ..., "arguments": {...}}, or a list of such.
  Json calls_of(const std::string& value) {
    Json parsed;
    try {
      parsed = core::parse_json(value, "value");
    } catch (const core::FormatError& error) {
      fail_here(concat("a function call must be JSON: ", error.what()));
    }
    Json calls = Json::array();
    for (Json& call : parsed.is_array() ? parsed : parsed = Json::array({parsed})) {
      if (!call.is_object() || !call.contains("name") || !call["name"].is_string())
        fail_here("a function call must be an object with a 'name'");
      calls.push_back({{"type", "function"}, {"function", call}});
    }
    Json message = {{"tool_calls", std::move(calls)}};
    read_tool_calls(message);
    return message["tool_calls"];
  }

  // A list, or the text of one, as some data sets have it.
  void read_tools() {
    const Json* tools = find_field(file_, record_, "tools");
    if (tools == nullptr || tools->is_null()) return;
    Json list = *tools;
    if (list.is_string()) {
      if (list.get_ref<const std::string&>().empty()) return;
      try {
        list = core::parse_json(list.get<std::string>(), "tools");
      } catch (const core::FormatError& error) {
        fail_here(concat("the column '", column_of(file_, "tools"), "': ", error.what()));
      }
    }
    if (!list.is_array())
      fail_here(concat("the column '", column_of(file_, "tools"),
                       "' must hold a list of tools; it holds ", list.type_name()));
    if (!list.empty()) conversation_.tools = std::move(list);
  }

  void add(const char* role, std::string content) {
    conversation_.messages.push_back(
        {.value = {{"role", role}, {"content", std::move(content)}}, .train = {}});
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
      const std::string input = optional_text(file_, record_, "input");
      add("user", concat(required_text(file_, record_, format_, "instruction"),
                         input.empty() ? "" : "\n\n", input));
      add("assistant", required_text(file_, record_, format_, "output"));
    } else {
      throw core::InternalError(
          concat("[data::conversation_of] the format '", format_, "' has no messages"));
    }
  }

  // [[instruction, output], ...]: earlier turns.
  void read_history() {
    const Json* history = find_field(file_, record_, "history");
    if (history == nullptr || history->is_null()) return;
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
  bool parse_arguments_;
  Conversation conversation_;
  std::int64_t at_ = -1;  // the message being read, or -1
};

}  // namespace

const std::string& Message::role() const { return value.at("role").get_ref<const std::string&>(); }

bool is_assistant(const Message& message) {
  return message.role() == "assistant" || message.role() == "model";
}

bool is_known_role(const std::string& role) {
  return std::find(kRoles.begin(), kRoles.end(), role) != kRoles.end();
}

Conversation conversation_of(const DataFile& file, const Record& record, const std::string& format,
                             const std::string& system, bool parse_arguments) {
  Conversation conversation = Reader(file, record, format, parse_arguments).read();
  if (!system.empty()) Reader::set_system(conversation, system);
  return conversation;
}

}  // namespace corda::data
