// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Files that are missing, broken, hostile or ask for something that is not implemented.
#include <gmock/gmock.h>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/tokenizer/tokenizer.h"
#include "golden.h"
#include "tokenizer/regex.h"

namespace corda::tokenizer {
namespace {

using core::FormatError;
using core::Json;
using testing::HasSubstr;

// A tokenizer.json that loads; each test breaks one thing.
Json sound() {
  return Json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 4, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                       "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [4], "tokens": ["<s>"]}}},
    "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "dropout": null, "unk_token": "?", "continuing_subword_prefix": null, "end_of_word_suffix": null,
              "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
              "vocab": {"?": 0, "a": 1, "b": 2, "ab": 3}, "merges": ["a b"]}})");
}

std::shared_ptr<const Tokenizer> load_text(const std::string& text,
                                           const std::string& config = "") {
  const TemporaryFolder folder;
  folder.write("tokenizer.json", text);
  if (!config.empty()) folder.write("tokenizer_config.json", config);
  return load_tokenizer(folder.path());
}

std::string refusal(const Json& json) {
  return error_of<FormatError>([&] { load_text(json.dump()); });
}
std::string refusal_of_text(const std::string& text) {
  return error_of<FormatError>([&] { load_text(text); });
}
// The refusal of the sound file with one value replaced or added.
std::string refusal_with(const std::string& pointer, const Json& value) {
  Json json = sound();
  json[Json::json_pointer(pointer)] = value;
  return refusal(json);
}

TEST(TokenizerJson, SoundFileLoads) {
  const std::shared_ptr<const Tokenizer> tokenizer = load_text(sound().dump());
  EXPECT_EQ(tokenizer->encode("ab b c", {.add_special_tokens = true}),
            (std::vector<TokenId>{4, 3, 2, 0}));
  EXPECT_EQ(tokenizer->vocab_size(), 5);
  EXPECT_EQ(tokenizer->bos_id, std::nullopt);
  EXPECT_EQ(tokenizer->prefix, (std::vector<TokenId>{4}));  // its post-processor says so
}

TEST(LoadTokenizer, MissingFilesAreNamed) {
  EXPECT_THAT(error_of<core::IoError>([] { load_tokenizer("/nowhere/at/all"); }),
              HasSubstr("'/nowhere/at/all' is not a model directory: it does not exist"));
  const TemporaryFolder folder;
  EXPECT_THAT(error_of<core::IoError>([&] { load_tokenizer(folder.path()); }),
              HasSubstr("expected tokenizer.json, tokenizer.model, or vocab.json with merges.txt"));
}

TEST(TokenizerJson, UnknownComponentsAreNamed) {
  EXPECT_THAT(refusal_with("/normalizer/type", "Unheard"),
              HasSubstr("tokenizer.json: normalizer: the normalizer 'Unheard' is not implemented"));
  EXPECT_THAT(refusal_with("/pre_tokenizer/type", "Unheard"),
              HasSubstr("pre_tokenizer: the pre-tokenizer 'Unheard' is not implemented"));
  EXPECT_THAT(refusal_with("/post_processor/type", "Unheard"),
              HasSubstr("post_processor: the post-processor 'Unheard' is not implemented"));
  EXPECT_THAT(refusal_with("/decoder/type", "Unheard"),
              HasSubstr("decoder: the decoder 'Unheard' is not implemented"));
  EXPECT_THAT(refusal_with("/model/type", "Unheard"),
              HasSubstr("model: the model 'Unheard' is not implemented"));
  Json json = sound();
  json["normalizer"] =
      Json::parse(R"({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Odd"}]})");
  EXPECT_THAT(refusal(json), HasSubstr("normalizer[1]: the normalizer 'Odd' is not implemented"));
}

TEST(TokenizerJson, UnknownKeysAndValuesAreNamed) {
  EXPECT_THAT(refusal_with("/surprise", 1), HasSubstr("the key 'surprise' is not implemented"));
  EXPECT_THAT(refusal_with("/normalizer/surprise", 1),
              HasSubstr("normalizer: the key 'surprise' is not implemented"));
  EXPECT_THAT(refusal_with("/model/surprise", 1),
              HasSubstr("model: the key 'surprise' is not implemented"));
  EXPECT_THAT(refusal_with("/added_tokens/0/surprise", 1),
              HasSubstr("added_tokens[0]: the key 'surprise' is not implemented"));
  EXPECT_THAT(refusal_with("/model/dropout", 0.1), HasSubstr("'dropout' is not implemented"));
  EXPECT_NO_THROW(load_text([] {
    Json json = sound();
    json["model"]["dropout"] = 0.0;
    return json.dump();
  }()));
  EXPECT_THAT(refusal_with("/model/fuse_unk", "yes"),
              HasSubstr("'fuse_unk' must be true or false, found string"));
  EXPECT_THAT(
      refusal_with(
          "/pre_tokenizer",
          Json::parse(R"({"type": "Split", "pattern": {"String": "a"}, "behavior": "Odd"})")),
      HasSubstr("the behavior 'Odd' is not implemented"));
  EXPECT_THAT(
      refusal_with("/pre_tokenizer", Json::parse(R"({"type": "Metaspace", "replacement": "ab"})")),
      HasSubstr("'replacement' must be one character, found 'ab'"));
}

TEST(TokenizerJson, InconsistentVocabulariesAreRefused) {
  EXPECT_THAT(refusal_with("/model/merges/0", "a c"),
              HasSubstr("the merge 0 needs the token 'c', which is not in the vocabulary"));
  EXPECT_THAT(refusal_with("/model/merges/0", "abc"),
              HasSubstr("the merge 'abc' must be two tokens with one space between them"));
  EXPECT_THAT(refusal_with("/model/merges/0", Json::array({"a"})),
              HasSubstr("the merge 0 has 1 parts instead of 2"));
  EXPECT_THAT(refusal_with("/model/merges/0", 7),
              HasSubstr("the merge 0 must be 'a b' or [\"a\", \"b\"]"));
  EXPECT_THAT(refusal_with("/model/vocab/c", 1),
              HasSubstr("the id 1 belongs to two tokens, 'a' and 'c'"));
  EXPECT_THAT(refusal_with("/model/vocab/c", -1),
              HasSubstr("the token 'c' has the id -1, outside 0 to 16777215"));
  EXPECT_THAT(refusal_with("/model/vocab/c", 1e3),
              HasSubstr("the token 'c' must have an integer id"));
  EXPECT_THAT(refusal_with("/model/vocab/c", 4000000000), HasSubstr("outside 0 to 16777215"));
  EXPECT_THAT(refusal_with("/model/unk_token", "[UNK]"),
              HasSubstr("the unknown token '[UNK]' is not in the vocabulary"));
  EXPECT_THAT(refusal_with("/added_tokens/0/id", 1),
              HasSubstr("the added token '<s>' has the id 1"));
  EXPECT_THAT(refusal_with("/added_tokens/0/id", 9),
              HasSubstr("the added token '<s>' has the id 9"));
  EXPECT_THAT(refusal_with("/added_tokens/0/content", "ab"),
              HasSubstr("the added token 'ab' has the id 4"));
  EXPECT_THAT(refusal_with("/model/vocab", Json::array()),
              HasSubstr("the key 'vocab' is missing, or is not an object"));
}

TEST(TokenizerJson, UnigramModelsThatCannotBeKeptAreRefused) {
  Json json = sound();
  json.erase("added_tokens");
  json.erase("post_processor");
  json["model"] = Json::parse(
      R"({"type": "Unigram", "unk_id": null, "vocab": [["a", -1.5], ["b", -9], ["ab", -2]], "byte_fallback": false})");
  const std::shared_ptr<const Tokenizer> tokenizer = load_text(json.dump());
  EXPECT_EQ(tokenizer->encode("aba"), (std::vector<TokenId>{2, 0}));
  EXPECT_THAT(error_of<core::ConfigError>([&] { tokenizer->encode("ac"); }),
              HasSubstr("the character 'c' has no token, and the model has no unknown token"));
  const auto refused = [&](const char* key, const Json& value) {
    Json broken = json;
    broken["model"][key] = value;
    return refusal(broken);
  };
  EXPECT_THAT(refused("unk_id", 3),
              HasSubstr("the unknown id 3 is not in the vocabulary of 3 tokens"));
  EXPECT_THAT(refused("vocab", Json::parse(R"([["a", -1], ["b"]])")),
              HasSubstr("the entry 1 of 'vocab' must be a token and its score"));
  EXPECT_THAT(refused("vocab", Json::parse(R"([["a", -1], ["a", -2]])")),
              HasSubstr("the token 'a' stands twice"));
}

TEST(TokenizerJson, WordsWithoutAnyTokenAreRefused) {
  Json json = sound();
  json.erase("added_tokens");
  json.erase("post_processor");
  json["model"] =
      Json::parse(R"({"type": "WordPiece", "unk_token": "[UNK]", "vocab": {"a": 0, "##b": 1}})");
  const std::shared_ptr<const Tokenizer> tokenizer = load_text(json.dump());
  EXPECT_EQ(tokenizer->encode("abb a"), (std::vector<TokenId>{0, 1, 1, 0}));
  EXPECT_THAT(error_of<core::ConfigError>([&] { tokenizer->encode("ac"); }),
              HasSubstr("the word 'ac' has no token, and the unknown token '[UNK]'"));
}

TEST(Precompiled, BrokenCharsmapsAreRefused) {
  const auto refused = [](const std::string& base64) {
    return refusal_with("/normalizer",
                        Json{{"type", "Precompiled"}, {"precompiled_charsmap", base64}});
  };
  EXPECT_THAT(refused("?"), HasSubstr("'precompiled_charsmap' is not base64"));
  EXPECT_THAT(refused("AAA="), HasSubstr("the precompiled charsmap is shorter than its header"));
  EXPECT_THAT(refused("AAAAAA=="), HasSubstr("names a trie of 0 bytes in 4"));
  EXPECT_THAT(refused("CAAAAAAAAAA="), HasSubstr("names a trie of 8 bytes in 8"));
  EXPECT_THAT(refused("BAAAAAAAAAD/"), HasSubstr("has replacements that are not UTF-8"));
}

TEST(TokenizerJson, PostProcessorsThatCannotBeKeptAreRefused) {
  EXPECT_THAT(refusal_with("/post_processor/special_tokens", Json::object()),
              HasSubstr("the special token '<s>' is not described in 'special_tokens'"));
  EXPECT_THAT(refusal_with("/post_processor/single", Json::array()),
              HasSubstr("a template without the sequence 'A' is not implemented"));
  EXPECT_THAT(refusal_with("/post_processor/single/1/Sequence/id", "B"),
              HasSubstr("other than one sequence 'A'"));
}

TEST(TokenizerJson, BrokenJsonIsLocated) {
  const std::string text = sound().dump(1);
  EXPECT_THAT(refusal_of_text(text.substr(0, text.size() / 2)), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal_of_text("{\n \"a\": ?}"), HasSubstr("tokenizer.json:2:7: not valid JSON"));
  EXPECT_THAT(refusal_of_text(""), HasSubstr("tokenizer.json:1:1: not valid JSON"));
  EXPECT_THAT(refusal_of_text("[]"), HasSubstr("expected an object, found array"));
  EXPECT_THAT(refusal_of_text(text + "x"), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal_of_text(R"({"version": "1", "version": "2"})"),
              HasSubstr("the JSON key 'version' stands twice in one object"));
  EXPECT_THAT(
      refusal_of_text(R"({"model": {"type": "BPE", "vocab": {"a": 0, "a": 1}, "merges": []}})"),
      HasSubstr("the token 'a' stands twice in the vocabulary"));
  EXPECT_THAT(refusal_of_text(std::string(100'000, '[')),
              HasSubstr("nested deeper than 512 levels"));
  EXPECT_THAT(refusal_of_text("{\"a\": \"\xFF\"}"), HasSubstr("not valid JSON"));
}

TEST(TokenizerJson, EveryCutOfAFileIsRefused) {
  const std::string text = sound().dump();
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_THROW(load_text(text.substr(0, size)), FormatError) << size;
  }
}

TEST(TokenizerConfig, NamesTheSpecialIds) {
  const std::string text = sound().dump();
  EXPECT_EQ(
      load_text(text, R"({"bos_token": "<s>", "pad_token": {"content": "ab"}, "eos_token": null})")
          ->bos_id,
      4);
  EXPECT_EQ(
      load_text(text, R"({"bos_token": "<s>", "pad_token": {"content": "ab"}, "eos_token": null})")
          ->pad_id,
      3);
}

TEST(TokenizerConfig, BosBeginsTextsWhereThePostProcessorSaysSo) {
  Json json = sound();
  const char* const named = R"({"bos_token": "<s>", "add_bos_token": false})";
  EXPECT_EQ(load_text(json.dump(), named)->prefix, (std::vector<TokenId>{4}));
  json["post_processor"] = nullptr;
  const auto tokenizer = load_text(json.dump(), R"({"bos_token": "<s>", "add_bos_token": true})");
  EXPECT_EQ(tokenizer->bos_id, 4);
  EXPECT_EQ(tokenizer->prefix, std::vector<TokenId>{});
}

TEST(TokenizerConfig, EosAndPaddingFallBackToTheModelsFiles) {
  const TemporaryFolder folder;
  folder.write("tokenizer.json", sound().dump());
  folder.write("config.json", R"({"bos_token_id": 4, "eos_token_id": 3, "pad_token_id": 99})");
  folder.write("generation_config.json", R"({"eos_token_id": [2, 3], "pad_token_id": [-1, 1]})");
  EXPECT_EQ(load_tokenizer(folder.path())->bos_id, std::nullopt);  // what no tokenizer file names
  EXPECT_EQ(load_tokenizer(folder.path())->eos_id, 2);
  EXPECT_EQ(load_tokenizer(folder.path())->pad_id, 1);
  folder.write("tokenizer_config.json", R"({"eos_token": null})");
  EXPECT_EQ(load_tokenizer(folder.path())->eos_id, std::nullopt);
}

TEST(TokenizerConfig, NamedTokensBeyondTheModelAreRefused) {
  const TemporaryFolder folder;
  folder.write("tokenizer.json", sound().dump());
  folder.write("tokenizer_config.json", R"({"bos_token": "<s>", "pad_token": "<pad>"})");
  folder.write("config.json", R"({"vocab_size": 5})");
  EXPECT_EQ(load_tokenizer(folder.path())->pad_id, 5);  // no text holds it
  folder.write("tokenizer_config.json", R"({"eos_token": "<end>"})");
  EXPECT_THAT(
      error_of<FormatError>([&] { load_tokenizer(folder.path()); }),
      HasSubstr("tokenizer_config.json: the eos_token '<end>' is not in the vocabulary: its "
                "id would be 5, and config.json gives the model 5 tokens"));
  folder.write("config.json", R"({"model_type": "gemma3", "text_config": {"vocab_size": 6}})");
  EXPECT_EQ(load_tokenizer(folder.path())->eos_id, 5);
}

TEST(EndTokens, AreThoseOfTheGenerationConfigElseOfTheConfig) {
  const TemporaryFolder folder;
  folder.write("tokenizer.json", sound().dump());
  folder.write("tokenizer_config.json", R"({"eos_token": "b"})");
  const auto ends = [&] { return load_tokenizer(folder.path())->end_ids; };
  using Ids = std::vector<TokenId>;
  EXPECT_EQ(ends(), (Ids{2}));
  folder.write("config.json", R"({"eos_token_id": [3, 1, 3]})");
  EXPECT_EQ(ends(), (Ids{2, 3, 1}));
  folder.write("config.json", R"({"model_type": "gemma3", "text_config": {"eos_token_id": 3}})");
  EXPECT_EQ(ends(), (Ids{2, 3}));
  folder.write("generation_config.json", R"({"eos_token_id": [1, 9, -1]})");
  EXPECT_EQ(ends(), (Ids{2, 1, 9}));  // 9: a row that only pads the embedding
  folder.write("generation_config.json", R"({"eos_token_id": null, "temperature": "warm"})");
  EXPECT_EQ(ends(), (Ids{2}));
}

TEST(EndTokens, MalformedFilesAreNamed) {
  const TemporaryFolder folder;
  folder.write("tokenizer.json", sound().dump());
  const auto refused = [&](const char* text) {
    folder.write("generation_config.json", text);
    return error_of<FormatError>([&] { load_tokenizer(folder.path()); });
  };
  EXPECT_THAT(refused(R"({"eos_token_id": "</s>"})"),
              HasSubstr("generation_config.json: 'eos_token_id' must be a token id or a list of "
                        "them, found string"));
  EXPECT_THAT(refused(R"({"eos_token_id": [2, [3]]})"), HasSubstr("found array"));
  EXPECT_THAT(refused(R"({"eos_token_id": 2.0})"), HasSubstr("found number"));
  EXPECT_THAT(refused(R"({"eos_token_id": {"a": 2}})"), HasSubstr("found object"));
  EXPECT_THAT(refused(R"([2])"), HasSubstr("generation_config.json: expected an object"));
  EXPECT_THAT(refused(R"({"eos_token_id": 2)"), HasSubstr("generation_config.json:1"));
}

// Every pair of files that give one token two ids, or one id two tokens.
TEST(AddedTokens, FilesThatContradictEachOtherAreNamed) {
  const char* const kX = R"("content": "<x>", "special": true)";
  struct Case {
    const char* listed;  // as an added token of tokenizer.json
    std::string config;
    const char* added;
    const char* says;
  };
  const std::vector<Case> cases = {
      {"", core::concat(R"({"added_tokens_decoder": {"9": {)", kX, "}}}"), "",
       "tokenizer_config.json: the added token '<x>' has the id 9, but by "},
      {"<y>", core::concat(R"({"added_tokens_decoder": {"5": {)", kX, "}}}"), "",
       "tokenizer_config.json: the added token '<x>' has the id 5, but by "},
      {"", core::concat(R"({"added_tokens_decoder": {"1": {)", kX, "}}}"), "",
       "tokenizer.json it is 5 (1 is 'a'); make the two files agree"},
      {"<x>", core::concat(R"({"added_tokens_decoder": {"6": {)", kX, "}}}"), "",
       "tokenizer.json it is 5; make the two files agree"},
      {"", "{}", R"({"<x>": 7})", "added_tokens.json: the added token '<x>' has the id 7, but by "},
      {"<y>", "{}", R"({"<x>": 5})", "added_tokens.json: the added token '<x>' has the id 5"},
      {"<x>", "{}", R"({"<x>": 6})", "added_tokens.json: the added token '<x>' has the id 6"},
  };
  for (const Case& each : cases) {
    const TemporaryFolder folder;
    Json json = sound();
    if (*each.listed != 0)
      json["added_tokens"].push_back(Json{{"id", 5}, {"content", each.listed}, {"special", true}});
    folder.write("tokenizer.json", json.dump());
    folder.write("tokenizer_config.json", each.config);
    if (*each.added != 0) folder.write("added_tokens.json", each.added);
    const std::string error = error_of<FormatError>([&] { load_tokenizer(folder.path()); });
    EXPECT_THAT(error, HasSubstr(each.says));
    EXPECT_THAT(error, HasSubstr("/tokenizer.json it is"));
  }
}

TEST(AddedTokens, MalformedFilesAreNamed) {
  const auto refused = [](const char* name, const char* text) {
    const TemporaryFolder folder;
    folder.write("tokenizer.json", sound().dump());
    folder.write(name, text);
    return error_of<FormatError>([&] { load_tokenizer(folder.path()); });
  };
  const char* const kConfig = "tokenizer_config.json";
  EXPECT_THAT(refused(kConfig, R"({"added_tokens_decoder": [1]})"),
              HasSubstr("'added_tokens_decoder' must be an object"));
  EXPECT_THAT(refused(kConfig, R"({"added_tokens_decoder": {"x": {}}})"),
              HasSubstr("added_tokens_decoder: 'x' is not a token id"));
  EXPECT_THAT(refused(kConfig, R"({"extra_special_tokens": 7})"),
              HasSubstr("tokenizer_config.json: 'extra_special_tokens': expected a list of tokens, "
                        "or an object of them, found number"));
  EXPECT_THAT(refused(kConfig, R"({"additional_special_tokens": ["<x>", 7]})"),
              HasSubstr("'additional_special_tokens'[1]: expected a text or an object"));
  EXPECT_THAT(refused(kConfig, R"({"eos_token": 7})"),
              HasSubstr("tokenizer_config.json: 'eos_token': expected a text or an object"));
  EXPECT_THAT(refused("special_tokens_map.json", R"({"eos_token": {"lstrip": true}})"),
              HasSubstr("special_tokens_map.json: 'eos_token': the key 'content' is missing"));
  EXPECT_THAT(refused("added_tokens.json", R"({"<x>": "5"})"),
              HasSubstr("added_tokens.json: 'id' must be an integer, found string"));
  EXPECT_THAT(refused("added_tokens.json", R"(["<x>"])"),
              HasSubstr("added_tokens.json: expected an object"));
}

// transformers builds that class's normalizer itself, so that only the ids of the token are equal.
TEST(AddedTokens, OfAnotherFileAreNotedWhereLlamaTokenizerReadsTheTextBehindDifferently) {
  const TemporaryFolder folder;
  fs::copy_file(golden_path("small/llama_fallback/tokenizer.json"),
                folder.path() / "tokenizer.json");
  folder.write("tokenizer_config.json", R"({"tokenizer_class": "LlamaTokenizer"})");
  EXPECT_TRUE(load_tokenizer(folder.path())->notes.empty());
  folder.write("added_tokens.json", R"({"<|x|>": 439})");
  const auto tokenizer = load_tokenizer(folder.path());
  EXPECT_EQ(tokenizer->encode("a<|x|>").back(), 439);
  ASSERT_EQ(tokenizer->notes.size(), 1U);
  EXPECT_THAT(tokenizer->notes.front(),
              HasSubstr("tokenizer.json lacks the added tokens '<|x|>' of "));
  EXPECT_THAT(tokenizer->notes.front(), HasSubstr("where transformers' LlamaTokenizer puts none"));
  folder.write("config.json", R"({"model_type": "mistral"})");  // another class, which puts it too
  EXPECT_TRUE(load_tokenizer(folder.path())->notes.empty());
}

TEST(BpeFiles, LoadAndReport) {
  const TemporaryFolder folder;
  folder.write("vocab.json", R"({"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3})");
  folder.write("merges.txt", "#version: 0.2\na b\n");
  EXPECT_EQ(load_tokenizer(folder.path())->encode("ab<|endoftext|>a"),
            (std::vector<TokenId>{2, 3, 0}));
  folder.write("merges.txt", "#version: 0.2\na b\nab\n");
  EXPECT_THAT(error_of<FormatError>([&] { load_tokenizer(folder.path()); }),
              HasSubstr("merges.txt:3: the merge 'ab' must be two tokens"));
  folder.write("merges.txt", "a b\n");
  folder.write("tokenizer_config.json", R"({"tokenizer_class": "BartTokenizer"})");
  EXPECT_THAT(error_of<FormatError>([&] { load_tokenizer(folder.path()); }),
              HasSubstr("the tokenizer class 'BartTokenizer'"));
  folder.write("tokenizer_config.json", "{}");
  folder.write("vocab.json", "[1, 2]");
  EXPECT_THAT(error_of<FormatError>([&] { load_tokenizer(folder.path()); }),
              HasSubstr("expected an object from tokens to ids"));
}

TEST(SentencePieceFiles, GarbageIsRefused) {
  const TemporaryFolder folder;
  folder.write("tokenizer.model", "this is no model");
  EXPECT_THAT(error_of<FormatError>([&] { load_tokenizer(folder.path()); }),
              HasSubstr("not a SentencePiece model"));
}

TEST(SentencePieceFiles, WhatIsNotImplementedIsNamed) {
  const TemporaryFolder folder;
  const std::string sound = core::read_file(golden_path("sentencepiece/tokenizer.model"));
  // A message that stands twice is merged: trainer_spec with another model_type, and
  // denormalizer_spec with a charsmap.
  folder.write("tokenizer.model", sound + "\x12\x02\x18\x03");
  EXPECT_THAT(error_of<FormatError>([&] { load_tokenizer(folder.path()); }),
              HasSubstr("tokenizer.model: the model_type 'word' is not implemented"));
  folder.write("tokenizer.model", sound + "\x2A\x03\x12\x01x");
  EXPECT_THAT(
      error_of<FormatError>([&] { load_tokenizer(folder.path()); }),
      HasSubstr("'denormalizer_spec' (rules that rewrite decoded text) is not implemented"));
}

TEST(Regex, WhatPcreWouldReadDifferentlyIsRefused) {
  const auto refused = [](const char* pattern) {
    return error_of<FormatError>([&] { Regex(pattern, "f"); });
  };
  EXPECT_THAT(refused("[[:alpha:]]"), HasSubstr("a POSIX class such as [:alpha:]"));
  EXPECT_THAT(refused(R"(\p{Emoji})"), HasSubstr("the property 'Emoji', which is not implemented"));
  EXPECT_THAT(refused("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[a"),
              HasSubstr("50 deep"));
  EXPECT_THAT(refused("(?x: a)"), HasSubstr("the option 'x'"));
  EXPECT_THAT(refused("(?~a)"), HasSubstr("the absence operator"));
  EXPECT_THAT(
      refused("(a"),
      HasSubstr("f: the regular expression '(a' is not understood: missing closing parenthesis"));
  EXPECT_THAT(refused("[a"), HasSubstr("a bracket that is never closed"));
  EXPECT_EQ(translate_oniguruma("\\p{N}{2}+a{,3}", false, "f"), "(?:\\p{N}{2})+a{0,3}");
}

// What it becomes is compared with the reference in ComponentGoldens; this is how it is said.
TEST(Regex, SetsInSetsBecomeGroups) {
  const auto translated = [](const char* pattern) {
    return translate_oniguruma(pattern, false, "f");
  };
  EXPECT_EQ(translated("[a[bc]]"), "[abc]");
  EXPECT_EQ(translated("[a-z&&[^b]]"), "(?:(?=[a-z])[^b])");
  EXPECT_EQ(translated("[^a[^b]]"), "(?:(?!(?:[a]|[^b]))(?s:.))");
  EXPECT_EQ(translated("[a-[b]]"), "(?:[a-]|[b])");
  EXPECT_EQ(translated("[x&&^]"), "(?:(?=[x])[\\^])");
  EXPECT_EQ(translated("\\P{L}"), "\\P{L}");
  EXPECT_EQ(translated("\\p{Garay}"), "(?!)");  // a script that only younger code points have
}

TEST(TokenizerJson, TextThatGrowsWithoutEndIsStopped) {
  Json grow = {
      {"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aaaaaaaaaaaaaaaa"}};
  Json json = sound();
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::vector<Json>(12, grow)}};
  const auto again = load_text(json.dump());
  EXPECT_THAT(error_of<core::ResourceError>([&] { again->encode("a", {}); }),
              HasSubstr("normalizing makes more than 67108928 bytes of this text"));
  EXPECT_EQ(again->encode("b", {}), std::vector<TokenId>{2});
  grow["content"] = std::string(1'000'000, 'b');
  json["normalizer"] = grow;
  const auto once = load_text(json.dump());
  EXPECT_THAT(error_of<core::ResourceError>([&] { once->encode(std::string(1000, 'a'), {}); }),
              HasSubstr("normalizing makes more than"));
}

TEST(TokenizerJson, InsertionsThatTheReferenceRepeatsAreRefused) {
  const auto replace = [](const char* pattern) {
    return Json{{"type", "Replace"}, {"pattern", {{"Regex", pattern}}}, {"content", "-"}};
  };
  const auto sequence = [](std::vector<Json> steps) {
    return Json{{"type", "Sequence"}, {"normalizers", std::move(steps)}};
  };
  const auto with = [](const Json& normalizer, const Json& pre) {
    Json json = sound();
    json["normalizer"] = normalizer;
    json["pre_tokenizer"] = pre;
    return json;
  };
  const Json metaspace = {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "first"}};
  const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", true}};
  EXPECT_THAT(refusal(with(replace("x*"), byte_level)),
              HasSubstr("a Replace whose pattern matches empty text stands before 'ByteLevel'"));
  EXPECT_THAT(refusal(with(sequence({replace("^"), Json{{"type", "NFC"}}}), metaspace)),
              HasSubstr("stands before 'NFC'"));
  EXPECT_NO_THROW(load_text(with(replace("x*"), metaspace).dump()));
  EXPECT_NO_THROW(
      load_text(with(sequence({Json{{"type", "NFC"}}, replace("x*")}), metaspace).dump()));
  EXPECT_NO_THROW(load_text(with(replace("x+"), byte_level).dump()));
}

}  // namespace
}  // namespace corda::tokenizer
