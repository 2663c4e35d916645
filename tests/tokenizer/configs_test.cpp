// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The small files of published models, where the data folder is there.
#include <cstdint>
#include <set>
#include <vector>

#include "corda/core/text.h"
#include "corda/tokenizer/tokenizer.h"
#include "golden.h"
#include "support/data_folder.h"

namespace corda::tokenizer {
namespace {

using core::Json;

struct Published {
  const char* folder;
  const char* bos;
  const char* eos;
  const char* pad;
  std::int64_t special;  // how many tokens are special
};

// What transformers 5.17 (PreTrainedTokenizerFast) makes of them.
const std::vector<Published> kPublished = {
    {"01-ai--Yi-6B-Chat", "<|startoftext|>", "<|endoftext|>", "<unk>", 6},
    {"Efficient-Large-Model--VILA1.5-llm", "<s>", "</s>", "<unk>", 3},
    {"HuggingFaceTB--SmolLM3-3B", "", "<|im_end|>", "<|im_end|>", 248},
    {"Infinigence--Megrez-3B-Instruct", "", "<|turn_end|>", "<|pad|>", 26},
    {"Qwen--Qwen-7B-Chat-Int4", "", "", "", 0},
    {"Qwen--Qwen1.5-0.5B-Chat", "", "<|im_end|>", "<|endoftext|>", 3},
    {"Qwen--Qwen2-72B-Instruct", "", "<|im_end|>", "<|endoftext|>", 3},
    {"Qwen--Qwen2.5-7B-Instruct", "", "<|im_end|>", "<|endoftext|>", 14},
    {"Qwen--Qwen3-8B", "", "<|im_end|>", "<|endoftext|>", 14},
    {"THUDM--chatglm3-6b", "", "", "", 0},
    {"baichuan-inc--Baichuan2-13B", "<s>", "</s>", "<unk>", 3},
    {"baichuan-inc--Baichuan2-7B", "<s>", "</s>", "<unk>", 3},
    {"decapoda--llama-7b-hf", "", "", "", 0},
    {"deepseek-ai--DeepSeek-R1-Distill-Qwen-32B", "<\uFF5Cbegin\u2581of\u2581sentence\uFF5C>",
     "<\uFF5Cend\u2581of\u2581sentence\uFF5C>", "<\uFF5Cend\u2581of\u2581sentence\uFF5C>", 2},
    {"deepseek-ai--deepseek-coder-33b-instruct", "<\uFF5Cbegin\u2581of\u2581sentence\uFF5C>",
     "<|EOT|>", "<\uFF5Cend\u2581of\u2581sentence\uFF5C>", 3},
    {"google--gemma-2b-it", "<bos>", "<eos>", "<pad>", 6},
    {"llama-13b-hf-early", "<s>", "</s>", "[PAD]", 4},
    {"lmsys--vicuna-13b-handmade", "<s>", "</s>", "[PAD]", 4},
    {"meta-llama--Llama-2-13b-chat-hf", "<s>", "</s>", "", 3},
    {"meta-llama--Llama-2-13b-hf", "<s>", "</s>", "", 3},
    {"meta-llama--Llama-2-7b-hf", "<s>", "</s>", "", 3},
    {"microsoft--Phi-3-mini-4k-instruct", "<s>", "<|endoftext|>", "<|endoftext|>", 13},
    {"microsoft--Phi-4-mini-instruct", "<|endoftext|>", "<|endoftext|>", "<|endoftext|>", 7},
    {"microsoft--phi-2", "<|endoftext|>", "<|endoftext|>", "", 1},
    {"microsoft--phi-4", "<|endoftext|>", "<|im_end|>", "<|dummy_85|>", 96},
    {"mistralai--Mistral-7B-Instruct-v0.2", "<s>", "</s>", "", 3},
    {"nvidia--Mistral-NeMo-Minitron", "<s>", "</s>", "", 1000},
    {"openai--gpt-oss-20b", "<|startoftext|>", "<|return|>", "<|endoftext|>", 21},
    {"openbmb--MiniCPM3-4B", "<s>", "<|im_end|>", "", 11},
    {"synthetic--qwen2.5-tf5", "", "<|im_end|>", "", 1},
};

// The texts of a token, a list of tokens or an object of tokens.
void collect(const Json& json, std::vector<std::string>& texts) {
  if (json.is_string()) texts.push_back(json.get<std::string>());
  if (json.is_object() && json.contains("content")) {
    collect(json.at("content"), texts);
  } else if (json.is_structured()) {
    for (const auto& [key, value] : json.items()) collect(value, texts);
  }
}

// A tokenizer.json whose vocabulary holds every token of the files, those with an id at that.
Json vocabulary_for(const std::vector<Json>& files) {
  Json vocabulary = Json::object();
  std::int64_t next = 0;
  const auto add = [&](const std::string& token, std::int64_t id) {
    if (token.empty() || vocabulary.contains(token)) return;
    vocabulary[token] = id;
    next = std::max(next, id + 1);
  };
  for (const Json& file : files) {
    if (!file.contains("added_tokens_decoder")) continue;
    for (const auto& [id, token] : file.at("added_tokens_decoder").items())
      add(token.at("content").get<std::string>(), *core::parse_int(id));
  }
  for (const Json& file : files) {
    for (const auto& [key, value] : file.items()) {
      if (!key.ends_with("_token") && !key.ends_with("_special_tokens")) continue;
      std::vector<std::string> texts;
      collect(value, texts);
      for (const std::string& text : texts) add(text, next);
    }
  }
  add("a", next);
  return Json{{"version", "1.0"},
              {"model", {{"type", "WordLevel"}, {"unk_token", "a"}, {"vocab", vocabulary}}}};
}

// The files of this name, by folder.
std::set<std::string> folders_with(const fs::path& root, const char* name) {
  std::set<std::string> folders;
  for (const auto& entry : fs::directory_iterator(root)) {
    if (fs::exists(entry.path() / name)) folders.insert(entry.path().filename().string());
  }
  return folders;
}

TEST(RealConfigs, NameTheTokensThatHuggingFaceReads) {
  const fs::path root = testing::data_folder() / "configs";
  if (!fs::exists(root)) GTEST_SKIP() << "no data folder at " << root;
  std::set<std::string> known;
  for (const Published& each : kPublished) known.insert(each.folder);
  EXPECT_EQ(folders_with(root, "tokenizer_config.json"), known);
  for (const Published& each : kPublished) {
    SCOPED_TRACE(each.folder);
    const TemporaryFolder folder;
    std::vector<Json> files;
    for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
      if (!fs::exists(root / each.folder / name)) continue;
      fs::copy_file(root / each.folder / name, folder.path() / name);
      files.push_back(core::read_json(root / each.folder / name));
    }
    folder.write("tokenizer.json", vocabulary_for(files).dump());
    const std::shared_ptr<const Tokenizer> tokenizer = load_tokenizer(folder.path());
    const auto text = [&](std::optional<TokenId> id) {
      return id ? tokenizer->id_to_token(*id) : "";
    };
    EXPECT_EQ(text(tokenizer->bos_id), each.bos);
    EXPECT_EQ(text(tokenizer->eos_id), each.eos);
    EXPECT_EQ(text(tokenizer->pad_id), each.pad);
    std::int64_t special = 0;
    for (TokenId id = 0; id < tokenizer->vocab_size(); ++id)
      special += tokenizer->is_special(id) ? 1 : 0;
    EXPECT_EQ(special, each.special);
  }
}

TEST(RealConfigs, GenerationEndsWhereTheirGenerationConfigSays) {
  const fs::path root = testing::data_folder() / "configs";
  if (!fs::exists(root)) GTEST_SKIP() << "no data folder at " << root;
  const std::vector<std::pair<std::string, std::vector<TokenId>>> ends = {
      {"01-ai--Yi-6B-Chat", {7}},  // config.json says 2
      {"Qwen--Qwen2.5-7B-Instruct", {151645, 151643}},
      {"deepseek-ai--deepseek-coder-33b-instruct", {32021}},
      {"google--gemma-2b-it", {1}},
      {"google--gemma-3-4b-it", {1, 106}},
      {"meta-llama--Llama-2-7b-hf", {2}},
      {"microsoft--Phi-4-mini-instruct", {200020, 199999}},
      {"mistralai--Mistral-7B-Instruct-v0.2", {2}}};
  std::set<std::string> known;
  for (const auto& [name, ids] : ends) {
    SCOPED_TRACE(name);
    known.insert(name);
    const TemporaryFolder folder;
    for (const char* file : {"generation_config.json", "config.json"}) {
      if (fs::exists(root / name / file)) fs::copy_file(root / name / file, folder.path() / file);
    }
    folder.write("tokenizer.json", vocabulary_for({}).dump());
    EXPECT_EQ(load_tokenizer(folder.path())->end_ids, ids);
  }
  EXPECT_EQ(folders_with(root, "generation_config.json"), known);
}

}  // namespace
}  // namespace corda::tokenizer
