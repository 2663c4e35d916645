// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/chat_prompt.h"

#include <algorithm>

#include "corda/adapter/adapter_reader.h"
#include "corda/core/error.h"
#include "corda/data/load.h"
#include "corda/data/names.h"
#include "data/chat_template.h"
#include "data/encode_chat.h"

namespace corda::eval {

ChatPrompts::ChatPrompts(const std::string& name, const std::string& model_directory,
                         const tokenizer::Tokenizer& tokenizer, const std::string& date)
    : tokenizer_(tokenizer) {
  if (name == "auto" && !data::ChatTemplate::model_has_one(model_directory)) {
    throw core::ConfigError(core::concat(
        "'", model_directory,
        "' has no chat template of its own; name one with --template, chatml or alpaca for "
        "example"));
  }
  chat_ = std::make_unique<data::ChatTemplate>(name == "auto" ? "chat" : name, model_directory,
                                               tokenizer, date.empty() ? data::today() : date);
}

ChatPrompts::ChatPrompts(ChatPrompts&&) noexcept = default;
ChatPrompts::~ChatPrompts() = default;

std::vector<tokenizer::TokenId> ChatPrompts::ids_of(const std::vector<ChatMessage>& messages,
                                                    const std::string& begun) const {
  data::Conversation conversation;
  for (const ChatMessage& message : messages) {
    conversation.messages.push_back(
        {.value = {{"role", message.role}, {"content", message.content}}});
  }
  return data::encode_chat_prompt(tokenizer_, *chat_, conversation, begun);
}

const std::string& ChatPrompts::name() const { return chat_->name(); }

std::string data_template_for(const std::string& asked, const std::string& adapter) {
  if (asked != "auto" || adapter.empty()) return asked;
  const std::string trained = adapter::AdapterReader(adapter).header().template_name;
  const std::vector<std::string> names = data::template_names();
  const bool known = std::find(names.begin(), names.end(), trained) != names.end();
  return known ? trained : asked;
}

std::string template_for(const std::string& asked, const std::string& adapter) {
  const std::string found = data_template_for(asked, adapter);
  return is_chat_template(found) ? found : asked;
}

bool is_chat_template(const std::string& name) { return name != "auto" && name != "plain"; }

}  // namespace corda::eval
