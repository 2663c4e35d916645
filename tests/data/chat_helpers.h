// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The golden files of scripts/golden/chat_data.py, and conversations from JSON.
#pragma once

#include <memory>
#include <string>

#include "corda/tokenizer/tokenizer.h"
#include "core/json.h"
#include "data/chat_template.h"
#include "data/conversation.h"

namespace corda::data {

// The day that strftime_now shows in the goldens.
inline constexpr const char* kGoldenDate = "2024-07-26";

inline fs::path chat_golden() {
  return fs::path(CORDA_SOURCE_DIR) / "tests" / "golden" / "chat_data";
}

// A tokenizer of the goldens; as a Llama's, it puts BOS before every text where `bos` is true.
inline std::shared_ptr<const tokenizer::Tokenizer> chat_tokenizer(const std::string& kind,
                                                                  bool bos = true) {
  const auto made = std::const_pointer_cast<tokenizer::Tokenizer>(
      tokenizer::load_tokenizer(chat_golden() / kind));
  if (bos) made->prefix = {*made->bos_id};
  return made;
}

// The record {"messages": [...], "tools": [...]} read in the format `messages`.
inline Conversation conversation_from(const core::Json& record) {
  return conversation_of({.path = "f.jsonl", .format = "messages"},
                         {.value = record, .line = 1, .column = 1}, "messages", "");
}

inline std::string mask_text(const Sample& sample) {
  std::string text;
  for (const auto one : sample.supervised) text += one != 0 ? '1' : '0';
  return text;
}

// The supervised tokens as text, with "|" between those that are not neighbours.
inline std::string learnt(const tokenizer::Tokenizer& tokenizer, const Sample& sample) {
  std::string text;
  for (std::size_t t = 0; t < sample.ids.size();) {
    if (sample.supervised[t] == 0) {
      ++t;
      continue;
    }
    std::vector<TokenId> run;
    for (; t < sample.ids.size() && sample.supervised[t] != 0; ++t) run.push_back(sample.ids[t]);
    text += (text.empty() ? "" : "|") + tokenizer.decode(run);
  }
  return text;
}

}  // namespace corda::data
