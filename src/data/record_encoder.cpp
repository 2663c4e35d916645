// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/record_encoder.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "data/document_cutter.h"
#include "data/encode_chat.h"
#include "data/encode_settings.h"
#include "data/formats.h"
#include "data/named_templates.h"
#include "data/record_fields.h"
#include "data/text_reader.h"

namespace corda::data {

using core::concat;

namespace {

std::int64_t size_of(const Sample& sample) { return static_cast<std::int64_t>(sample.ids.size()); }

bool is_supervised(const Sample& sample) {
  return std::find(sample.supervised.begin(), sample.supervised.end(), std::uint8_t{1}) !=
         sample.supervised.end();
}

std::string why_all_prompt(const Conversation& conversation) {
  std::vector<std::string> roles;
  for (const Message& message : conversation.messages) {
    if (is_assistant(message))
      return "no message of the assistant is to be learnt in it ('train', 'weight', a prompt of "
             "its "
             "own)";
    if (std::find(roles.begin(), roles.end(), message.role()) == roles.end())
      roles.push_back(message.role());
  }
  return concat("it has no message of the assistant; its roles are ", core::listed(roles));
}

}  // namespace

RecordEncoder::RecordEncoder(const tokenizer::Tokenizer& tokenizer, const EncodeSettings& settings)
    : tokenizer_(tokenizer),
      settings_(settings),
      date_(settings.date.empty() ? today() : settings.date) {
  check_encode_settings(settings);
}

std::string RecordEncoder::template_of(const std::string& format) {
  const std::string& asked = settings_.template_name;
  if (format == "text") return "none";
  const bool chat_format = is_chat_format(format);
  if (asked == "plain" && (chat_format || !settings_.system.empty())) {
    throw core::ConfigError(
        chat_format
            ? concat("the template 'plain' cannot show the messages of the format '", format,
                     "'; choose chat or one of ", core::join(named_templates(), ", "))
            : std::string("the template 'plain' has no place for a system prompt"));
  }
  std::string name = asked;
  if (asked == "auto") {
    const bool own = ChatTemplate::model_has_one(settings_.model_directory);
    name = chat_format || own ? "chat" : "alpaca";
    if (chat_format && !own) {
      throw core::ConfigError(concat(
          "the data have the format '", format, "', and the model '",
          settings_.model_directory.string(),
          "' carries no chat template; choose a named one: ", core::join(named_templates(), ", ")));
    }
  }
  if (name != "plain" && (!chat_ || chat_->name() != name)) {
    if (chat_ && chat_->name() != name) {
      throw core::ConfigError(concat("template auto would choose '", chat_->name(),
                                     "' for some files and '", name, "' for those of the format '",
                                     format, "'; choose one template"));
    }
    chat_ = std::make_unique<ChatTemplate>(name, settings_.model_directory, tokenizer_, date_);
  }
  return name;
}

// Instruction formats through alpaca (the template) and plain are a prompt and a response;
// everything else is a conversation.
bool RecordEncoder::goes_through_chat(const std::string& format) const {
  if (is_chat_format(format)) return true;
  return settings_.template_name != "plain" && chat_->name() != "alpaca";
}

bool RecordEncoder::needs_conversation(const DataFile& file, const Record& record,
                                       const std::string& format) const {
  if (goes_through_chat(format) || !settings_.system.empty()) return true;
  if (format != "alpaca") return false;
  const core::Json* history = find_field(file, record, "history");
  const bool more = !optional_text(file, record, "system").empty() ||
                    (history != nullptr && !history->is_null() && !history->empty());
  if (more && settings_.template_name == "plain")
    fail(file, record, "the template 'plain' has no place for 'system' and 'history'");
  return more;
}

EncodedRecord RecordEncoder::encode(const DataFile& file, const Record& record,
                                    const std::string& format, bool with_borders) const {
  EncodedRecord result;
  if (format == "text") {
    DocumentCutter cutter(tokenizer_, settings_.max_length,
                          [&](Sample& sample) { add_piece(std::move(sample), result); });
    const std::string text = text_of(file, record);
    cutter.add(encode_plain(tokenizer_, text));
    cutter.finish();
    result.full_tokens = cutter.tokens();
    if (text.empty() && result.samples.empty()) {  // EOS alone, or nothing
      result.one_token = 1;
      result.why_dropped = "the text is empty";
    }
  } else if (needs_conversation(file, record, format)) {
    encode_conversation(file, record, format, with_borders, result);
  } else {
    encode_instruction(file, record, format, with_borders, result);
  }
  return result;
}

void RecordEncoder::encode_instruction(const DataFile& file, const Record& record,
                                       const std::string& format, bool with_borders,
                                       EncodedRecord& into) const {
  const bool plain = settings_.template_name == "plain";
  const auto text = prompt_response_of(file, record, format, plain ? "plain" : "alpaca");
  Sample sample;
  try {
    sample = encode_sample(tokenizer_, text);
  } catch (const core::FormatError& error) {
    fail(file, record, error.what());
  }
  if (with_borders) {
    const auto first = std::find(sample.supervised.begin(), sample.supervised.end(), 1);
    into.borders = {first - sample.supervised.begin()};
  }
  into.empty_answer = core::trim(text.response).empty();
  if (settings_.train_on == "all" && !sample.ids.empty())
    std::fill(sample.supervised.begin() + 1, sample.supervised.end(), std::uint8_t{1});
  cut(std::move(sample), "its response is empty, and the tokenizer has no EOS", into);
}

namespace {

// A template's own words, behind what it is likely to mean where the assistant speaks first.
std::string why_not_shown(const Conversation& conversation, const core::FormatError& error) {
  const std::string words = error.what();
  const auto& messages = conversation.messages;
  const auto first = std::find_if(messages.begin(), messages.end(), [](const Message& message) {
    return message.role() != "system";
  });
  constexpr std::string_view kBegins = "the conversation begins with the assistant";
  const bool begins = first != messages.end() && first->role() == "assistant";
  if (!begins || words.find(kBegins) != std::string::npos) return words;
  return concat(kBegins, ": ", words);
}

}  // namespace

void RecordEncoder::encode_conversation(const DataFile& file, const Record& record,
                                        const std::string& format, bool with_borders,
                                        EncodedRecord& into) const {
  Conversation conversation = conversation_of(file, record, format, settings_.system);
  into.hides_tools = !chat_->shows_tools(conversation);
  into.hidden_key = chat_->hidden_key(conversation);
  into.dropped_nulls = conversation.dropped_nulls;
  into.legacy_calls = conversation.legacy_calls;
  const auto encoded_chat = [&] {
    return encode_chat(tokenizer_, *chat_, conversation, settings_.train_on, with_borders);
  };
  EncodedChat encoded;
  try {
    encoded = encoded_chat();
  } catch (const core::FormatError& error) {
    if (!conversation.parsed_arguments) fail(file, record, why_not_shown(conversation, error));
    // Most templates print the arguments of a call as JSON; some put them in as the text they were.
    conversation = conversation_of(file, record, format, settings_.system, false);
    try {
      encoded = encoded_chat();
    } catch (const core::FormatError&) {
      fail(file, record, why_not_shown(conversation, error));
    }
  }
  into.borders = std::move(encoded.borders);
  into.eos_appended = encoded.eos_appended ? 1 : 0;
  into.empty_answer = encoded.empty_answer;
  if (encoded.hidden_message) {
    into.hidden_message = concat("message ", *encoded.hidden_message, " (role '",
                                 conversation.messages[*encoded.hidden_message].role(), "')");
  }
  cut(std::move(encoded.sample), why_all_prompt(conversation), into);
}

void RecordEncoder::cut(Sample sample, const std::string& all_prompt, EncodedRecord& into) const {
  into.full_tokens = size_of(sample);
  if (!is_supervised(sample)) {
    ++into.without_targets;
    into.why_dropped = all_prompt;
    return;
  }
  if (settings_.max_length > 0 && size_of(sample) > settings_.max_length) {
    if (settings_.overlong == "drop") {
      ++into.too_long;
      into.why_dropped =
          concat("it has ", into.full_tokens, " tokens; max_length is ", settings_.max_length);
      return;
    }
    sample.ids.resize(static_cast<std::size_t>(settings_.max_length));
    sample.supervised.resize(sample.ids.size());
  }
  if (!is_supervised(sample)) {
    ++into.prompt_fills;
    into.why_dropped = concat("its prompt alone fills max_length, which is ", settings_.max_length);
    return;
  }
  if (size_of(sample) < into.full_tokens) ++into.truncated;
  into.samples.push_back(std::move(sample));
}

void add_piece(Sample piece, EncodedRecord& into) {
  if (is_supervised(piece)) {
    into.samples.push_back(std::move(piece));
    return;
  }
  ++into.one_token;
  into.why_dropped = "the text is a single token, which nothing predicts";
}

}  // namespace corda::data
