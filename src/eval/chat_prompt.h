// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Messages as the prompt of an answer.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "corda/tokenizer/tokenizer.h"

namespace corda::data {
class ChatTemplate;
}

namespace corda::eval {

struct ChatMessage {
  std::string role;  // system | user | assistant
  std::string content;
};

class ChatPrompts {
 public:
  // `name` of a template as data::template_names has it, but for plain; "auto" is the model's own.
  // Throws ConfigError where the model has none. The tokenizer outlives it.
  ChatPrompts(const std::string& name, const std::string& model_directory,
              const tokenizer::Tokenizer& tokenizer, const std::string& date);
  ChatPrompts(ChatPrompts&&) noexcept;
  ~ChatPrompts();

  // Special tokens written out in a message are text. The answer begins with `begun`.
  std::vector<tokenizer::TokenId> ids_of(const std::vector<ChatMessage>& messages,
                                         const std::string& begun = {}) const;
  const std::string& name() const;

 private:
  const tokenizer::Tokenizer& tokenizer_;
  std::unique_ptr<data::ChatTemplate> chat_;
};

// The template asked for; in place of auto that which an adapter's directory ("": none) says it was
// trained with, where its name is known.
std::string template_for(const std::string& asked, const std::string& adapter);

// The same for records of data, which may have been plain in training.
std::string data_template_for(const std::string& asked, const std::string& adapter);

// Whether a template makes prompts of messages; else they are plain text.
bool is_chat_template(const std::string& name);

}  // namespace corda::eval
