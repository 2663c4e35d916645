// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Prompt and response are tokenised as one text: ids and masks are those of transformers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chat_helpers.h"
#include "corda/data/load.h"
#include "corda/data/template.h"
#include "data_helpers.h"

namespace corda::data {
namespace {

using core::Json;
using ::testing::ElementsAre;

fs::path small_tokenizer(const std::string& name) {
  return fs::path(CORDA_SOURCE_DIR) / "tests" / "golden" / "tokenizer" / "small" / name;
}

// Where the library's offsets do not say which characters a token stands for.
std::string expected_mask(const std::string& tokenizer, const std::string& prompt,
                          std::string mask) {
  if (!mask.empty()) mask[0] = '0';  // nothing predicts the first token
  // This vocabulary has no "<" and no unknown token: the offsets leave the dropped characters out,
  // and the second token, an "s" of the response, seems to lie in the prompt.
  if (tokenizer == "metaspace_always" && prompt == "</s>") mask[1] = '1';
  // One unknown token for the last character of the prompt and the first of the response: as good
  // a token of the prompt, and nothing is learnt from it.
  if (tokenizer == "unigram" && prompt == "café 人") mask[6] = '0';
  // Each of the six bytes of those characters has both as its offsets; three are the prompt's.
  if (tokenizer == "unigram_fallback" && prompt == "café 人") mask.replace(6, 3, "000");
  return mask;
}

// tests/golden/chat_data/pairs.json: nine tokenizers, among them those that put "▁" before a text.
TEST(WholeText, IdsAndMaskOfPromptAndResponseEqualTransformers) {
  const Json file = core::read_json(chat_golden() / "pairs.json");
  int compared = 0;
  for (const auto& [name, rows] : file["tokenizers"].items()) {
    const auto loaded = std::const_pointer_cast<tokenizer::Tokenizer>(
        tokenizer::load_tokenizer(small_tokenizer(name)));
    loaded->prefix.clear();
    loaded->eos_id.reset();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Json& pair = file["pairs"][i];
      SCOPED_TRACE(core::concat(name, ": ", pair.dump()));
      const Sample sample = encode_sample(
          *loaded, {.prompt = pair[0].get<std::string>(), .response = pair[1].get<std::string>()});
      EXPECT_EQ(Json(sample.ids), rows[i]["ids"]);
      EXPECT_EQ(mask_text(sample), expected_mask(name, pair[0].get<std::string>(),
                                                 rows[i]["mask"].get<std::string>()));
      ++compared;
    }
  }
  EXPECT_EQ(compared, 99);
}

// The ids of transformers' tokenizer("Question: who?\nAnswer: Ann"), BOS before and EOS behind. On
// its own the answer would begin with a second "▁".
TEST(WholeText, AResponseGetsNoSpaceOfItsOwn) {
  const auto tokenizer = std::const_pointer_cast<tokenizer::Tokenizer>(
      tokenizer::load_tokenizer(small_tokenizer("llama_fallback")));
  tokenizer->bos_id = 1;
  tokenizer->eos_id = 2;
  tokenizer->prefix = {*tokenizer->bos_id};
  const Sample sample =
      encode_sample(*tokenizer, {.prompt = qa_prompt("who?"), .response = " Ann"});
  std::vector<std::string> learnt_pieces;
  for (std::size_t t = 0; t < sample.ids.size(); ++t)
    if (sample.supervised[t] != 0) learnt_pieces.push_back(tokenizer->id_to_token(sample.ids[t]));
  EXPECT_THAT(learnt_pieces, ElementsAre("\xE2\x96\x81", "A", "n", "n", "</s>"));
  EXPECT_THAT(sample.ids,
              ElementsAre(1, 398, 84, 310, 294, 308, 309, 298, 304, 303, 281, 398, 312, 297, 304,
                          66, 260, 283, 303, 308, 312, 294, 307, 281, 398, 283, 303, 303, 2));
}

// What calibration reads of a question is what training and evaluation see of it.
TEST(WholeText, CalibrationAndTrainingGiveAQuestionTheSameIds) {
  const TemporaryFolder folder;
  const DataFile file{.path = folder.write("f.jsonl", R"({"question":"who?","answer":"Ann"})")};
  CapturedLog log;
  for (const char* name : {"llama_metaspace", "llama_fallback", "byte_level_gpt2"}) {
    const auto loaded = std::const_pointer_cast<tokenizer::Tokenizer>(
        tokenizer::load_tokenizer(small_tokenizer(name)));
    loaded->bos_id = 1;
    loaded->eos_id = 2;
    loaded->prefix = {*loaded->bos_id};
    const auto windows = load_calibration({file}, *loaded, {.samples = 1, .seq_len = 1000}, log);
    ASSERT_EQ(windows.size(), 1U);
    EXPECT_EQ(windows[0],
              load_samples({file}, *loaded, {.template_name = "plain"}, log).samples.at(0).ids)
        << name;
  }
}

}  // namespace
}  // namespace corda::data
