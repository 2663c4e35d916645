// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Nothing goes into a model that has no row for it, whatever is asked: the place is named first.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "corda/core/error.h"
#include "corda/eval/chat.h"
#include "corda/eval/eval.h"
#include "support/captured_log.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::eval {
namespace {

using corda::testing::error_of;
using ::testing::StartsWith;

constexpr const char* kSaid = ": token id 123 ('z') is beyond the model's vocabulary of 123 tokens";

// Byte b is token b + 1, and the model has rows up to that of 'y'.
class EvalVocabulary : public ::testing::Test {
 protected:
  EvalVocabulary() { corda::testing::write_tiny_model(at("model"), {.vocab = 123}); }

  std::string at(const char* name) const { return (folder_.path() / name).string(); }
  std::string refusal(const std::string& task, const char* name, const std::string& content,
                      const std::string& template_name = "") {
    std::ofstream(at(name)) << content;
    EvalSettings asked{.model = at("model"), .adapter = {}, .task = task};
    asked.data = {at(name)};
    if (!template_name.empty()) asked.template_name = template_name;
    asked.device = "cpu";
    asked.threads = 1;
    asked.answers.max_new_tokens = task == "qa" ? 2 : 0;
    return error_of<core::ConfigError>([&] { evaluate(asked, log_); });
  }

  corda::testing::TemporaryDirectory folder_;
  CapturedLog log_;
};

TEST_F(EvalVocabulary, LossesOfTextAndOfRecords) {
  EXPECT_THAT(refusal("perplexity", "f.txt", "a b\nc z\n"), StartsWith(at("f.txt") + kSaid));
  EXPECT_THAT(refusal("perplexity", "f.jsonl",
                      "{\"prompt\": \"a\", \"completion\": \"b\"}\n"
                      "{\"prompt\": \"z\", \"completion\": \"b\"}\n",
                      "plain"),
              StartsWith(at("f.jsonl") + ":2:1" + kSaid));
}

TEST_F(EvalVocabulary, QuestionsAndTheirFirstAnswers) {
  const std::string first = "{\"question\": \"a\", \"answer\": \"b\"}\n";
  EXPECT_THAT(refusal("qa", "q.jsonl", first + R"({"question": "z", "answer": "b"})"),
              StartsWith(at("q.jsonl") + ", question 2" + kSaid));
  EXPECT_THAT(refusal("qa", "q.jsonl", first + R"({"question": "a", "answers": ["z", "c"]})"),
              StartsWith(at("q.jsonl") + ", question 2" + kSaid));
  // It is only compared with.
  EXPECT_EQ(refusal("qa", "q.jsonl", first + R"({"question": "a", "answers": ["c", "z"]})"),
            "no error");
}

TEST_F(EvalVocabulary, ChoicesAndPages) {
  EXPECT_THAT(refusal("arc_easy", "c.jsonl",
                      R"({"question": "a", "choices": {"text": ["b", "z"], "label": ["A", "B"]}, )"
                      R"("answerKey": "A"})"),
              StartsWith(at("c.jsonl") + ":1:1" + kSaid));
  EXPECT_THAT(refusal("wikitext", "w.txt", " = A = \n z \n"), StartsWith(at("w.txt") + kSaid));
}

TEST_F(EvalVocabulary, PromptsAndConversations) {
  ChatSettings asked{.model = at("model"), .adapter = {}, .prompts = {"z"}, .system = {}};
  asked.device = "cpu";
  asked.answers.max_new_tokens = 2;
  EXPECT_THAT(error_of<core::ConfigError>([&] { generate_texts(asked, {}, log_); }),
              StartsWith(std::string("the prompt") + kSaid));
  asked.prompts = {"a", "z"};
  EXPECT_THAT(error_of<core::ConfigError>([&] { generate_texts(asked, {}, log_); }),
              StartsWith(std::string("prompt 2") + kSaid));
  asked.prompts.clear();
  asked.template_name = "alpaca";
  Chat chat(asked, log_);
  EXPECT_THAT(error_of<core::ConfigError>([&] { chat.say("z", {}, log_); }),
              StartsWith(std::string("the conversation") + kSaid));
}

}  // namespace
}  // namespace corda::eval
