// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "class_pipeline.h"

#include "corda/core/error.h"

namespace corda::tokenizer {

namespace {

using core::Json;

bool does_nothing(const Json* step) {
  if (step == nullptr || step->is_null()) return true;
  const auto steps = step->find("normalizers");
  return steps != step->end() && steps->is_array() && steps->empty();
}

// Whether the step is of this type and says of each of these keys what it must, or leaves it to a
// default that does.
bool is_step(const Json& step, const char* type, const Json& says,
             const Json& defaults = Json::object()) {
  if (!step.is_object() || step.value("type", "") != type) return false;
  for (const auto& [key, value] : says.items()) {
    const auto found = step.find(key);
    if ((found == step.end() ? defaults.value(key, Json()) : *found) != value) return false;
  }
  return true;
}

bool is_byte_level(const Json& step, bool prefix_space, bool use_regex) {
  return is_step(step, "ByteLevel", {{"add_prefix_space", prefix_space}, {"use_regex", use_regex}},
                 {{"add_prefix_space", true}, {"use_regex", true}});
}

bool is_gpt2s(bool prefix_space, const Json* normalizer, const Json* pre) {
  return does_nothing(normalizer) && pre != nullptr && is_byte_level(*pre, prefix_space, true);
}

bool is_qwen2s(bool prefix_space, const Json* normalizer, const Json* pre) {
  if (normalizer == nullptr || !is_step(*normalizer, "NFC", Json::object())) return false;
  if (pre == nullptr || !is_step(*pre, "Sequence", Json::object())) return false;
  const Json steps = pre->value("pretokenizers", Json());
  return steps.is_array() && steps.size() == 2 &&
         is_step(
             steps[0], "Split",
             {{"pattern", {{"Regex", kQwen2Pattern}}}, {"behavior", "Isolated"}, {"invert", false}},
             {{"invert", false}}) &&
         is_byte_level(steps[1], prefix_space, false);
}

bool is_gemmas(const Json* normalizer, const Json* pre) {
  return normalizer != nullptr && pre != nullptr &&
         is_step(*normalizer, "Replace",
                 {{"pattern", {{"String", " "}}}, {"content", "\xE2\x96\x81"}}) &&
         is_step(*pre, "Split",
                 {{"pattern", {{"String", " "}}},
                  {"behavior", "MergedWithPrevious"},
                  {"invert", false}},
                 {{"invert", false}});
}

// Where it puts spaces otherwise is in docs/models.md; what cuts bytes is another tokenizer.
bool is_like_llamas(const Json* pre) {
  return pre == nullptr || is_step(*pre, "Metaspace", Json::object());
}

}  // namespace

std::string note_of_class(const std::string& tokenizer_class, bool prefix_space,
                          const core::Json* normalizer, const core::Json* pre_tokenizer,
                          const std::string& source) {
  bool same = true;
  if (tokenizer_class == "GPT2Tokenizer") same = is_gpt2s(prefix_space, normalizer, pre_tokenizer);
  if (tokenizer_class == "Qwen2Tokenizer")
    same = is_qwen2s(prefix_space, normalizer, pre_tokenizer);
  if (tokenizer_class == "GemmaTokenizer") same = is_gemmas(normalizer, pre_tokenizer);
  if (tokenizer_class == "LlamaTokenizer") same = is_like_llamas(pre_tokenizer);
  if (same) return "";
  return core::concat(source, ": texts are normalized and cut into words as this file says; ",
                      "transformers 5 does not look at that, since tokenizer_config.json or ",
                      "config.json names the class ", tokenizer_class,
                      ", so some of its ids are others");
}

}  // namespace corda::tokenizer
