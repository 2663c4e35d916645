// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Conversations as ids and masks, against transformers' apply_chat_template.
#include <gtest/gtest.h>

#include <map>

#include "chat_helpers.h"
#include "corda/core/error.h"
#include "corda/core/sha256.h"
#include "data/encode_chat.h"
#include "data/named_templates.h"
#include "jinja/json_value.h"
#include "support/data_folder.h"

namespace corda::data {
namespace {

std::string digest(const core::Json& value) {
  return core::Sha256().update(value.dump()).hex_digest().substr(0, 16);
}

std::string text_of(const ChatTemplate& chat, const Conversation& conversation) {
  return chat.render(conversation, conversation.messages.size(), false).text;
}

TEST(NamedTemplates, TextIdsAndMasksEqualTransformers) {
  const auto file = core::read_json(chat_golden() / "named.json");
  int compared = 0;
  int refused = 0;
  for (const std::string kind : {"bytes", "pieces"}) {
    const auto tokenizer = chat_tokenizer(kind);
    for (const auto& [name, cases] : file["templates"].items()) {
      const ChatTemplate chat(name, chat_golden() / kind, *tokenizer, kGoldenDate);
      for (const auto& [label, kinds] : cases.items()) {
        SCOPED_TRACE(kind + ", " + name + ", " + label);
        const auto conversation = conversation_from(file["conversations"][label]);
        const auto& row = kinds[kind];
        if (row.contains("error")) {
          EXPECT_THROW(encode_chat(*tokenizer, chat, conversation, "assistant"), core::FormatError);
          ++refused;
          continue;
        }
        if (row.contains("text")) {
          EXPECT_EQ(text_of(chat, conversation), row["text"].get<std::string>());
        }
        const auto sample = encode_chat(*tokenizer, chat, conversation, "assistant").sample;
        EXPECT_EQ(core::Json(sample.ids), row["ids"]);
        EXPECT_EQ(mask_text(sample), row["mask"].get<std::string>());
        ++compared;
      }
    }
  }
  EXPECT_EQ(compared, 102);
  EXPECT_EQ(refused, 10);
}

// What is exported has no generation marks, and must render the same.
TEST(NamedTemplates, RenderTheSameWithoutTheirMarks) {
  const auto file = core::read_json(chat_golden() / "named.json");
  const auto tokenizer = chat_tokenizer("bytes");
  int compared = 0;
  for (const auto& name : named_templates()) {
    const ChatTemplate chat(name, chat_golden() / "bytes", *tokenizer, kGoldenDate);
    EXPECT_EQ(chat.exported().find("generation %}"), std::string::npos);
    const jinja::Template bare(chat.exported(), name);
    for (const auto& [label, kinds] : file["templates"][name].items()) {
      if (!kinds["bytes"].contains("text")) continue;
      jinja::Value::List messages;
      for (const auto& message : conversation_from(file["conversations"][label]).messages)
        messages.push_back(jinja::from_json(message.value));
      const auto rendered =
          bare.render(jinja::Value::dict({{"messages", jinja::Value::list(std::move(messages))},
                                          {"tools", nullptr},
                                          {"bos_token", "<s>"},
                                          {"eos_token", "</s>"},
                                          {"add_generation_prompt", false}}));
      EXPECT_EQ(rendered.text, kinds["bytes"]["text"].get<std::string>()) << name << ", " << label;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 51);
}

class RealChat : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(folder_)) GTEST_SKIP() << "no templates at " << folder_ << " (CORDA_SHARED)";
  }
  std::unique_ptr<ChatTemplate> open(const std::string& path) const {
    return std::make_unique<ChatTemplate>((folder_ / path).string(), chat_golden() / "bytes",
                                          *tokenizer_, kGoldenDate);
  }

  fs::path folder_ = testing::data_folder() / "chat_templates";
  std::shared_ptr<const tokenizer::Tokenizer> tokenizer_ = chat_tokenizer("bytes");
  core::Json conversations_ = core::read_json(chat_golden() / "named.json")["conversations"];
};

TEST_F(RealChat, IdsAndMarkedMasksEqualTransformers) {
  const auto file = core::read_json(chat_golden() / "real.json");
  int ids = 0;
  int masks = 0;
  for (const auto& [path, rows] : file["templates"].items()) {
    const auto chat = open(path);
    for (const auto& [label, row] : rows.items()) {
      SCOPED_TRACE(path + ", " + label);
      const auto conversation = conversation_from(conversations_[label]);
      if (row.contains("error")) {
        EXPECT_THROW(text_of(*chat, conversation), core::FormatError);
        continue;
      }
      const std::string text = text_of(*chat, conversation);
      EXPECT_EQ(digest(tokenizer_->encode(text)), row["ids"].get<std::string>());
      ++ids;
      if (!row.contains("mask")) continue;
      const auto encoded = encode_chat(*tokenizer_, *chat, conversation, "assistant");
      EXPECT_EQ(digest(encoded.sample.ids), row["ids"].get<std::string>());
      EXPECT_EQ(digest(mask_text(encoded.sample)), row["mask"].get<std::string>())
          << mask_text(encoded.sample);
      ++masks;
    }
  }
  EXPECT_GE(ids, 200);
  EXPECT_GE(masks, 50);
}

// Qwen's marks begin before the line feed that ends the header, which the prompt has already.
std::string without_header_end(std::string text) {
  if (text.starts_with('\n')) text.erase(0, 1);
  for (auto at = text.find("|\n"); at != std::string::npos; at = text.find("|\n", at))
    text.erase(at + 1, 1);
  return text;
}

// A template and its training variant, which has marks, write the same text; the masks that the
// one's rendering and the other's marks give must agree.
TEST_F(RealChat, IncrementalMasksEqualThoseOfTheMarkedVariant) {
  int equal = 0;
  std::map<std::string, int> refused;
  for (const std::string name : {"gemma", "gemma3", "llama3", "phi3", "phi3_5", "qwen2_5", "qwen3",
                                 "qwen3_instruct_2507", "glm4moe", "deepseekv3"}) {
    if (!fs::exists(folder_ / "trl" / (name + "_training.jinja"))) continue;
    const auto plain = open("trl/" + name + ".jinja");
    const auto marked = open("trl/" + name + "_training.jinja");
    for (const auto& [label, record] : conversations_.items()) {
      SCOPED_TRACE(name + ", " + label);
      const auto conversation = conversation_from(record);
      try {
        if (text_of(*plain, conversation) != text_of(*marked, conversation)) continue;
      } catch (const core::FormatError&) {
        continue;  // the template raises
      }
      const auto expected = encode_chat(*tokenizer_, *marked, conversation, "assistant").sample;
      try {
        const auto got = encode_chat(*tokenizer_, *plain, conversation, "assistant").sample;
        EXPECT_EQ(learnt(*tokenizer_, got), without_header_end(learnt(*tokenizer_, expected)));
        ++equal;
      } catch (const core::FormatError& error) {
        ++refused[name];
        EXPECT_NE(std::string(error.what()).find("no generation marks"), std::string::npos)
            << error.what();
      }
    }
  }
  EXPECT_GE(equal, 30);
  RecordProperty("equal", equal);
  // Its generation prompt opens a <think> block that its conversations do not have.
  EXPECT_EQ(refused, (std::map<std::string, int>{{"deepseekv3", 6}}));
}

// Prompts as the family's own templates write them.
TEST_F(RealChat, NamedTemplatesWriteWhatTheirFamiliesDo) {
  const std::map<std::string, std::string> families = {
      {"llama-3", "trl/llama3.jinja"},
      {"gemma", "llama.cpp/google-gemma-2-2b-it.jinja"},
      {"phi-3", "trl/phi3.jinja"},
      {"mistral", "llama.cpp/mistralai-Mistral-Nemo-Instruct-2407.jinja"},
      {"chatml", "llama.cpp/Qwen-Qwen2.5-7B-Instruct.jinja"}};
  std::map<std::string, int> compared;
  for (const auto& [name, path] : families) {
    const ChatTemplate named(name, chat_golden() / "bytes", *tokenizer_, kGoldenDate);
    const auto real = open(path);
    for (const auto& [label, record] : conversations_.items()) {
      // Qwen2.5 puts in a system prompt of its own; tools are what the named ones do not have.
      if (label == "tools" || (name == "chatml" && label.find("system") == std::string::npos))
        continue;
      const auto conversation = conversation_from(record);
      for (std::size_t count = 1; count <= conversation.messages.size(); ++count) {
        const bool answers = conversation.messages[count - 1].role() == "assistant";
        // Nemo forgets the system prompt behind an answer.
        if (conversation.messages[count - 1].role() == "system" ||
            (name == "mistral" && answers && label.find("system") != std::string::npos))
          continue;
        std::string expected;
        try {
          expected = real->render(conversation, count, !answers).text;
        } catch (const core::FormatError&) {
          continue;  // a system prompt, to Gemma
        }
        EXPECT_EQ(named.render(conversation, count, !answers).text, expected)
            << name << ", " << label << ", " << count;
        ++compared[name];
      }
    }
  }
  for (const auto& [name, path] : families) EXPECT_GE(compared[name], 6) << name;
}

}  // namespace
}  // namespace corda::data
