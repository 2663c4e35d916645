// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The named templates that no model's own template here can be compared with, against texts made by
// other programs.
#include <gtest/gtest.h>

#include "chat_helpers.h"

namespace corda::data {
namespace {

using core::Json;

std::string rendered(const std::string& name, const std::string& system) {
  Json messages = Json::array();
  if (!system.empty()) messages.push_back({{"role", "system"}, {"content", system}});
  for (const auto& [question, answer] : {std::pair("Hi there", "Hello!"), {"1 + 1?", "2"}}) {
    messages.push_back({{"role", "user"}, {"content", question}});
    messages.push_back({{"role", "assistant"}, {"content", answer}});
  }
  const auto tokenizer = chat_tokenizer("bytes");
  const ChatTemplate chat(name, chat_golden() / "bytes", *tokenizer, kGoldenDate);
  const Conversation conversation = conversation_from({{"messages", messages}});
  return chat.render(conversation, conversation.messages.size(), false).text;
}

// FastChat 0.2.36, get_conv_template("vicuna_v1.1").get_prompt(), behind the BOS that its tokenizer
// adds.
TEST(NamedTemplates, VicunaIsFastChats) {
  EXPECT_EQ(rendered("vicuna", ""),
            "<s>A chat between a curious user and an artificial intelligence assistant. The "
            "assistant gives helpful, detailed, and polite answers to the user's questions. USER: "
            "Hi there ASSISTANT: Hello!</s>USER: 1 + 1? ASSISTANT: 2</s>");
  EXPECT_EQ(rendered("vicuna", "Be brief."),
            "<s>Be brief. USER: Hi there ASSISTANT: Hello!</s>USER: 1 + 1? ASSISTANT: 2</s>");
}

// FastChat's "llama-2", behind BOS and without the BOS of a turn to come at its end: Meta's
// chat_completion, every exchange with BOS and EOS.
TEST(NamedTemplates, Llama2IsFastChatsAndMetas) {
  EXPECT_EQ(rendered("llama-2", ""),
            "<s>[INST] Hi there [/INST] Hello! </s><s>[INST] 1 + 1? [/INST] 2 </s>");
  EXPECT_EQ(rendered("llama-2", "Be brief."),
            "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi there [/INST] Hello! </s>"
            "<s>[INST] 1 + 1? [/INST] 2 </s>");
}

// The first exchange is Stanford Alpaca's prompt without input (its train.py) with a space before
// the response, which SentencePiece puts there too; it has no second one, and the form of that is
// ours.
TEST(NamedTemplates, AlpacasFirstTurnIsStanfords) {
  EXPECT_EQ(rendered("alpaca", ""),
            "<s>Below is an instruction that describes a task. Write a response that appropriately "
            "completes the request.\n\n### Instruction:\nHi there\n\n### Response: Hello!</s>"
            "\n\n### Instruction:\n1 + 1?\n\n### Response: 2</s>");
}

}  // namespace
}  // namespace corda::data
