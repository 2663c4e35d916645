// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Each known mistake is warned of by every way of reading samples (training, from files and from a
// cache, and preview), and sound data are not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chat_helpers.h"
#include "corda/data/load.h"
#include "corda/data/preview.h"
#include "data_helpers.h"

namespace corda::data {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kTurn =
    R"({"messages":[{"role":"user","content":"abcdefgh"},{"role":"assistant","content":"b"}]})";

// Cut at 30 tokens it ends within its answer.
const std::string kLong =
    R"({"messages":[{"role":"user","content":"abcdefgh"},{"role":"assistant","content":")" +
    std::string(60, 'x') + R"("}]})";

// Cut at 48 tokens nothing is left of its answer.
const std::string kLongPrompt = R"({"messages":[{"role":"user","content":")" +
                                std::string(1000, 'x') +
                                R"("},{"role":"assistant","content":"b"}]})";

class Mistakes : public testing::Test {
 protected:
  Mistakes() {
    fs::copy(chat_golden() / "bytes", model_);
    tokenizer_ = std::const_pointer_cast<tokenizer::Tokenizer>(tokenizer::load_tokenizer(model_));
  }
  // The warnings, which must be the same however the data are read.
  std::string warnings(const std::string& lines, const std::string& template_name,
                       std::int64_t max_length = 0) {
    const fs::path data = folder_.write("f.jsonl", lines);
    std::string first;
    for (const bool cached : {false, true, true}) {
      CapturedLog log;
      load_samples({{.path = data}}, *tokenizer_,
                   {.template_name = template_name,
                    .model_directory = model_,
                    .max_length = max_length,
                    .cache = cached ? folder_.path() / "cache" : fs::path()},
                   log);
      std::string found;
      for (std::size_t at = log.text.find("warning: "); at != std::string::npos;
           at = log.text.find("warning: ", at + 1))
        found += log.text.substr(at, log.text.find('\n', at) - at + 1);
      if (cached) {
        EXPECT_EQ(found, first);
      } else {
        first = found;
      }
    }
    CapturedLog log;
    PreviewSettings settings;
    settings.model = model_;
    settings.data = {data};
    settings.template_name = template_name;
    settings.max_length = max_length;
    const Preview shown = preview(settings, *tokenizer_, log);
    std::string found;
    for (const auto& warning : shown.warnings) found += "warning: " + warning + "\n";
    EXPECT_EQ(found, first);
    EXPECT_EQ(to_text(shown, *tokenizer_, false).ends_with(first), true);
    return first;
  }
  std::string own(const std::string& source) const {
    return folder_.write("own.jinja", source).string();
  }

  TemporaryFolder folder_;
  fs::path model_ = folder_.path() / "model";
  std::shared_ptr<tokenizer::Tokenizer> tokenizer_;
};

TEST_F(Mistakes, SoundDataHaveNone) { EXPECT_EQ(warnings(kTurn, "chatml"), ""); }

TEST_F(Mistakes, NoEosAmongTheTargets) {
  EXPECT_THAT(warnings(kLong, "chatml", 30),
              AllOf(HasSubstr("no sample has EOS or an end token among its targets"),
                    Not(HasSubstr("padding"))));
  tokenizer_->eos_id.reset();
  EXPECT_THAT(warnings(R"({"text":"some text"})", "auto"),
              HasSubstr("the tokenizer names no EOS token"));
}

TEST_F(Mistakes, PadEqualsEosAndMasked) {
  tokenizer_->pad_id = tokenizer_->eos_id;
  EXPECT_THAT(warnings(kLong, "chatml", 30),
              HasSubstr("; the padding token is EOS, and it is masked"));
  EXPECT_EQ(warnings(kTurn, "chatml"), "");  // learnt all the same
}

TEST_F(Mistakes, DoubleBos) {
  EXPECT_THAT(warnings(kTurn, own("{{ bos_token }}{{ bos_token }}{% for m in messages %}"
                                  "{% generation %}{{ m.content }}{% endgeneration %}"
                                  "{% endfor %}{{ eos_token }}")),
              HasSubstr("1 samples begin with BOS twice"));
}

TEST_F(Mistakes, TemplateMismatch) {
  fs::remove(model_ / "tokenizer.json");
  fs::copy_file(fs::path(CORDA_SOURCE_DIR) / "tests/golden/tokenizer/small/byte_level_gpt2" /
                    "tokenizer.json",
                model_ / "tokenizer.json");
  tokenizer_ = std::const_pointer_cast<tokenizer::Tokenizer>(tokenizer::load_tokenizer(model_));
  EXPECT_THAT(warnings(kTurn, "llama-3"),
              HasSubstr("the template 'llama-3' is made for other models: <|start_header_id|>, "
                        "<|end_header_id|>, <|eot_id|> are no special tokens"));
}

TEST_F(Mistakes, TheModelsOwnTemplateIsNotUsed) {
  std::ofstream(model_ / "chat_template.jinja") << "{{ messages[0].content }}";
  EXPECT_THAT(warnings(kTurn, "chatml"),
              HasSubstr("the model carries a chat template of its own, and the data go through "
                        "'chatml'"));
}

TEST_F(Mistakes, SamplesThatAreAllPrompt) {
  const std::string prompt =
      R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","train":false}]})";
  EXPECT_THAT(warnings(std::string(kTurn) + "\n" + prompt, "chatml"),
              AllOf(HasSubstr("f.jsonl:2:1: no message of the assistant is to be learnt in it"),
                    HasSubstr("1 samples were dropped: 1 are all prompt: nothing in them")));
}

// Each dropped record is named, up to twenty; each cause has its own advice.
TEST_F(Mistakes, DroppedSamplesAreListedWithTheirPlaceAndCause) {
  std::string lines;
  for (int i = 0; i < 23; ++i) lines += kLongPrompt + "\n";
  lines += std::string(kTurn);
  const std::string found = warnings(lines, "chatml", 48);
  EXPECT_THAT(found, AllOf(HasSubstr("f.jsonl:1:1: its prompt alone fills max_length, which is 48"),
                           HasSubstr("f.jsonl:20:1: its prompt"), Not(HasSubstr("f.jsonl:21:1")),
                           HasSubstr("23 samples were dropped: 23 have a prompt that alone fills "
                                     "max_length (48 tokens)"),
                           Not(HasSubstr("all prompt")), Not(HasSubstr("were cut there"))));
}

TEST_F(Mistakes, ATextOfOneTokenIsNoPrompt) {
  tokenizer_->eos_id.reset();
  tokenizer_->prefix.clear();
  EXPECT_THAT(warnings("{\"text\":\"a\"}\n{\"text\":\"a b c\"}", "auto"),
              AllOf(HasSubstr("f.jsonl:1:1: the text is a single token, which nothing predicts"),
                    Not(HasSubstr("prompt"))));
}

// With EOS, which then stands alone, and without.
TEST_F(Mistakes, AnEmptyTextIsCalledEmpty) {
  tokenizer_->prefix.clear();
  ASSERT_TRUE(tokenizer_->eos_id.has_value());
  const auto is_empty = AllOf(HasSubstr("f.jsonl:1:1: the text is empty"),
                              HasSubstr("1 samples were dropped: 1 are texts, or last pieces of "
                                        "texts, that are empty or a single token"),
                              Not(HasSubstr("the text is a single token")));
  EXPECT_THAT(warnings("{\"text\":\"\"}\n{\"text\":\"a b c\"}", "auto"), is_empty);
  tokenizer_->eos_id.reset();
  EXPECT_THAT(warnings("{\"text\":\"\"}\n{\"text\":\"a b c d\"}", "auto"), is_empty);
}

TEST_F(Mistakes, MessagesThatTheTemplateDoesNotShow) {
  const std::string lines =
      std::string(kTurn) +
      "\n"
      R"({"messages":[{"role":"user","content":"a"},{"role":"narrator","content":"c"},{"role":"assistant","content":"b"}]})";
  EXPECT_THAT(warnings(lines, own("{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}"
                                  "{% elif m.role == 'assistant' %}{% generation %}{{ m.content }}"
                                  "</s>{% endgeneration %}{% endif %}{% endfor %}")),
              AllOf(HasSubstr("1 conversations have a message that the template shows nothing of, "
                              "the first in "),
                    HasSubstr("f.jsonl:2:1, message 1 (role 'narrator')")));
  EXPECT_EQ(warnings(lines, "chatml"), "");
}

TEST_F(Mistakes, ANumberFromCppOutOfItsRangeIsRefused) {
  CapturedLog log;
  PreviewSettings settings;
  settings.model = model_;
  settings.data = {folder_.write("f.jsonl", kTurn)};
  settings.samples = -1;
  try {
    preview(settings, *tokenizer_, log);
    FAIL() << "was taken";
  } catch (const core::ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("'samples' must lie between 0 and"));
  }
}

}  // namespace
}  // namespace corda::data
