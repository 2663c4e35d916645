// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The chat template a run uses: the model's own, one of the named, or a file.
#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "corda/data/sample.h"
#include "corda/jinja/template.h"
#include "data/conversation.h"

namespace corda::data {

// What a rendering says about a byte that no message wrote: the tools and other variables.
inline constexpr std::int32_t kOtherSource = 1 << 24;

class ChatTemplate {
 public:
  // `name`: "chat" for the model's own template in `model_directory` (chat_template.jinja,
  // additional_chat_templates/, or chat_template in tokenizer_config.json, a text or a list of
  // named ones), a name of named_templates(), or a path that ends in ".jinja". Throws ConfigError
  // where there is none, FormatError for one that cannot be parsed.
  // Where the template shows the time, it is the beginning of the day `date` (YYYY-MM-DD).
  ChatTemplate(const std::string& name, const fs::path& model_directory,
               const tokenizer::Tokenizer& tokenizer, const std::string& date);

  // Whether the model's directory holds a template of its own.
  static bool model_has_one(const fs::path& model_directory);

  // Whether the template of that name may show the date, so that it changes what is rendered.
  static bool shows_date(const std::string& name, const fs::path& model_directory);

  // As apply_chat_template of transformers with tokenize=False; the first `count` messages.
  // Texts of message i are labelled i, so that what they hold is known from what the template
  // writes; a role of the usual names is the template's. Throws FormatError.
  jinja::Rendering render(const Conversation& conversation, std::size_t count,
                          bool add_generation_prompt) const;

  bool has_generation(const Conversation& conversation) const;
  const std::string& name() const { return name_; }
  // The text that an exported model gets; "" where the model carries this template already.
  const std::string& exported() const { return exported_; }
  // Special tokens that the template writes out and the vocabulary does not have.
  const std::vector<std::string>& missing_tokens() const { return missing_; }
  // The first part of a message beside its content, such as its reasoning, at which the source does
  // not look; "" where there is none.
  std::string hidden_key(const Conversation& conversation) const;
  // Whether the source looks at the tools and tool calls of the conversation, where it has any.
  bool shows_tools(const Conversation& conversation) const;
  // The sources, for a hash.
  const std::string& source() const { return source_; }

 private:
  const jinja::Template& template_for(const Conversation& conversation) const;
  void read_model(const fs::path& directory);
  void read_tokens(const tokenizer::Tokenizer& tokenizer);

  std::string name_;
  std::string source_;
  std::string tool_source_;
  std::string exported_;
  std::vector<std::string> missing_;
  std::unique_ptr<jinja::Template> main_;
  std::unique_ptr<jinja::Template> with_tools_;  // of a list with "tool_use"; else null
  jinja::Value::Dict tokens_;                    // bos_token and its kin
  std::tm now_;
};

}  // namespace corda::data
