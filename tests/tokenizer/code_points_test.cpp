// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Properties of all 1,112,064 code points against the Hugging Face library.
#include "golden.h"
#include "tokenizer/components_json.h"
#include "tokenizer/unicode.h"
#include "tokenizer/unicode_scripts.h"

namespace corda::tokenizer {
namespace {

using core::Json;

// [first, last, first, last, ...] of the code points that have a property.
template <typename Has>
std::vector<char32_t> ranges_of(Has has) {
  std::vector<char32_t> flat;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c == 0xD800) c = 0xE000;
    std::string text;
    append_utf8(text, c);
    if (!has(text)) continue;
    if (!flat.empty() && flat.back() + 1 == c) {
      flat.back() = c;
    } else {
      flat.insert(flat.end(), {c, c});
    }
  }
  return flat;
}

std::vector<std::string> words(const PreTokenizer& pre_tokenizer, const std::string& text,
                               Scratch& scratch) {
  scratch.pieces.assign(1, {text, -1, 1});
  pre_tokenizer.split(scratch);
  std::vector<std::string> out;
  for (const Piece& piece : scratch.pieces) out.emplace_back(piece.text);
  return out;
}

std::vector<char32_t> ranges_of(const std::string& name) {
  Scratch scratch;
  if (name.starts_with('\\')) {
    const Regex regex(name, name);
    return ranges_of(
        [&](const std::string& text) { return regex.find(text, 0, scratch.regex).has_value(); });
  }
  if (name == "word of Whitespace") {
    const PreTokenizerPtr whitespace = make_whitespace();
    return ranges_of([&](const std::string& text) {
      return words(*whitespace, "a" + text + "a", scratch).size() == 1;
    });
  }
  if (name == "begins of UnicodeScripts") {
    std::vector<char32_t> begins;
    int before = kNoScript;
    for (char32_t c = 0; c < 0x110000; ++c) {
      const int script = c >= 0xD800 && c <= 0xDFFF ? kNoScript : script_class(c);
      if (script == kNoScript || script == before) continue;
      begins.push_back(c);
      before = script;
    }
    return begins;
  }
  const Json json = Json::parse(name);
  const std::string type = json.at("type").get<std::string>();
  if (type == "Digits" || type == "Punctuation" || type == "BertPreTokenizer") {
    const PreTokenizerPtr cutter = pre_tokenizer_from_json(json, name, false);
    return ranges_of([&](const std::string& text) {
      return words(*cutter, "a" + text + "a", scratch).size() == 3;
    });
  }
  const NormalizerPtr normalizer = normalizer_from_json(json, name);
  return ranges_of([&](const std::string& text) {
    Piece piece{text, -1, 1};
    normalizer->apply(piece, scratch);
    return piece.text.empty();
  });
}

TEST(AllCodePoints, PropertiesMatchHuggingFace) {
  const Json golden = golden_json("small/code_points.json");
  ASSERT_EQ(golden.size(), 33U);
  for (const auto& [name, expected] : golden.items()) {
    EXPECT_EQ(ranges_of(name), expected.get<std::vector<char32_t>>()) << name;
  }
}

TEST(AllCodePoints, NegatedPropertiesAreTheComplement) {
  RegexScratch scratch;
  for (const auto& [positive, negative] : {std::pair("\\p{L}", "\\P{L}"),
                                           {"\\p{N}", "\\p{^N}"},
                                           {"\\d", "\\D"},
                                           {"\\w", "\\W"},
                                           {"[\\p{L}]", "[^\\p{L}]"},
                                           {"[\\d\\w]", "[^\\w]"}}) {
    const Regex has(positive, "test");
    const Regex lacks(negative, "test");
    EXPECT_TRUE(ranges_of([&](const std::string& text) {
                  return has.find(text, 0, scratch).has_value() ==
                         lacks.find(text, 0, scratch).has_value();
                }).empty())
        << positive;
  }
}

}  // namespace
}  // namespace corda::tokenizer
