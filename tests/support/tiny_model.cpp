// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "support/tiny_model.h"

#include <ATen/ATen.h>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/io/tensor.h"
#include "core/json.h"
#include "support/random_tensor.h"

namespace corda::testing {

namespace {

using core::Json;

// GPT-2's printable stand-in for a byte, as UTF-8.
std::string byte_symbol(int byte) {
  const auto printable = [](int b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  };
  int code = byte;
  if (!printable(byte)) {
    code = 256;
    for (int b = 0; b < byte; ++b) code += printable(b) ? 0 : 1;
  }
  std::string text;
  if (code < 0x80) {
    text.push_back(static_cast<char>(code));
  } else {
    text.push_back(static_cast<char>(0xc0 | (code >> 6)));
    text.push_back(static_cast<char>(0x80 | (code & 0x3f)));
  }
  return text;
}

// BOS before every text.
Json bos_before() {
  const Json bos = {{"id", "<|endoftext|>"}, {"type_id", 0}};
  const Json text = {{"id", "A"}, {"type_id", 0}};
  return {{"type", "TemplateProcessing"},
          {"single", {{{"SpecialToken", bos}}, {{"Sequence", text}}}},
          {"pair", Json::array()},
          {"special_tokens",
           {{"<|endoftext|>",
             {{"id", "<|endoftext|>"}, {"ids", {0}}, {"tokens", {"<|endoftext|>"}}}}}}};
}

void write_byte_tokenizer(const std::filesystem::path& directory) {
  Json vocab = {{"<|endoftext|>", 0}};
  for (int byte = 0; byte < 256; ++byte) vocab[byte_symbol(byte)] = byte + 1;
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", true}};
  core::write_json(directory / "tokenizer.json", {{"version", "1.0"},
                                                  {"truncation", nullptr},
                                                  {"padding", nullptr},
                                                  {"added_tokens",
                                                   {{{"id", 0},
                                                     {"content", "<|endoftext|>"},
                                                     {"single_word", false},
                                                     {"lstrip", false},
                                                     {"rstrip", false},
                                                     {"normalized", false},
                                                     {"special", true}}}},
                                                  {"normalizer", nullptr},
                                                  {"pre_tokenizer", byte_level},
                                                  {"post_processor", bos_before()},
                                                  {"decoder", byte_level},
                                                  {"model",
                                                   {{"type", "BPE"},
                                                    {"dropout", nullptr},
                                                    {"unk_token", nullptr},
                                                    {"continuing_subword_prefix", nullptr},
                                                    {"end_of_word_suffix", nullptr},
                                                    {"fuse_unk", false},
                                                    {"byte_fallback", false},
                                                    {"ignore_merges", false},
                                                    {"vocab", vocab},
                                                    {"merges", Json::array()}}}});
  core::write_json(directory / "tokenizer_config.json",
                   {{"bos_token", "<|endoftext|>"}, {"eos_token", "<|endoftext|>"}});
}

}  // namespace

void write_tiny_model(const std::filesystem::path& directory, const TinyModelOptions& options) {
  std::filesystem::create_directories(directory);
  core::write_json(directory / "config.json", {{"architectures", {"LlamaForCausalLM"}},
                                               {"model_type", "llama"},
                                               {"vocab_size", options.vocab},
                                               {"hidden_size", options.hidden},
                                               {"intermediate_size", options.intermediate},
                                               {"num_hidden_layers", options.layers},
                                               {"num_attention_heads", options.heads},
                                               {"num_key_value_heads", options.kv_heads},
                                               {"hidden_act", "silu"},
                                               {"rms_norm_eps", 1e-5},
                                               {"max_position_embeddings", 512},
                                               {"tie_word_embeddings", options.tied},
                                               {"bos_token_id", 0},
                                               {"eos_token_id", 0}});
  const auto config = model::read_model_config(directory);
  core::Random random(options.seed);
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [name, shape] : model::expected_tensors(config)) {
    const bool norm = shape.size() == 1;
    tensors.emplace_back(name,
                         random_tensor(shape, random, norm ? 1.0 : 0.0, norm ? 0.2 : options.spread)
                             .to(options.dtype));
  }
  if (options.shards == 1) {
    io::save_tensors(directory / "model.safetensors", tensors, {{"format", "pt"}});
  } else {
    Json map = Json::object();
    for (std::int64_t shard = 0; shard < options.shards; ++shard) {
      std::vector<std::pair<std::string, at::Tensor>> part;
      const std::string file =
          core::concat("model-0000", shard + 1, "-of-0000", options.shards, ".safetensors");
      for (std::size_t i = 0; i < tensors.size(); ++i) {
        if (static_cast<std::int64_t>(i) % options.shards != shard) continue;
        part.push_back(tensors[i]);
        map[tensors[i].first] = file;
      }
      io::save_tensors(directory / file, part, {{"format", "pt"}});
    }
    core::write_json(directory / "model.safetensors.index.json",
                     {{"metadata", {{"total_size", 0}}}, {"weight_map", map}});
  }
  write_byte_tokenizer(directory);
}

model::Model load_tiny_model(const std::filesystem::path& directory,
                             const TinyModelOptions& options) {
  write_tiny_model(directory, options);
  return model::load_model(io::Checkpoint(directory), model::read_model_config(directory), {});
}

}  // namespace corda::testing
