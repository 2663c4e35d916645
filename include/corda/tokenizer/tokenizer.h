// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Text to token ids and back, equal to the Hugging Face tokenizers library on the same files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace corda::tokenizer {

using TokenId = std::int32_t;

// Bytes [begin, end) of a text.
struct ByteSpan {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  bool operator==(const ByteSpan&) const = default;
};

struct EncodeOptions {
  // Run the post-processor: BOS and EOS as the model's own files ask for.
  bool add_special_tokens = false;
  // Recognise special tokens written out in the text. With false, a literal "<s>" is ordinary text.
  bool parse_special = true;
  // Where special tokens are ordinary text all the same (one that reaches into such a span, too);
  // ascending, apart.
  std::span<const ByteSpan> literal = {};
};

// Ids with places of the text found again among them.
struct CutEncoding {
  std::vector<TokenId> ids;
  std::vector<std::int64_t> cuts;  // for each place, how many ids begin before it
};

struct DecodeOptions {
  bool skip_special_tokens = false;
};

// Immutable after loading and safe to use from several threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Invalid UTF-8 is read as U+FFFD, one for each maximal invalid part.
  virtual std::vector<TokenId> encode(std::string_view text, EncodeOptions options = {}) const = 0;
  // The same ids (add_special_tokens is not looked at), and for each of `places`, ascending byte
  // offsets into `text`, the number of ids that begin before it. Throws FormatError for invalid
  // UTF-8, and where a normalizer has blurred which token a place belongs to.
  virtual CutEncoding encode_with_cuts(std::string_view text, std::span<const std::int64_t> places,
                                       EncodeOptions options = {}) const;
  // An id that no token has, such as a row that only pads the model's embedding, is no text.
  virtual std::string decode(std::span<const TokenId> ids, DecodeOptions options = {}) const = 0;

  // One more than the largest id, added tokens included.
  virtual std::int64_t vocab_size() const = 0;
  virtual std::optional<TokenId> token_to_id(std::string_view token) const = 0;
  // Throws ConfigError for an id outside the vocabulary.
  virtual std::string id_to_token(TokenId id) const = 0;
  virtual bool is_special(TokenId id) const = 0;

  // From tokenizer_config.json and special_tokens_map.json (load_tokenizer says which of them),
  // where a null or an empty text means that there is none; else what transformers' class or a
  // tokenizer.model has; else, for EOS and padding, the first of generation_config.json or
  // config.json.
  std::optional<TokenId> bos_id;
  std::optional<TokenId> eos_id;
  std::optional<TokenId> pad_id;
  // What the tokenizer itself puts before a text, and thus before a training sample: what a
  // tokenizer.json's post-processor says; else BOS where `add_bos_token` asks for it, and before
  // texts of a tokenizer.model also where it is not said. Often BOS, often nothing.
  std::vector<TokenId> prefix;
  // Where a generated text ends: EOS, and every `eos_token_id` of generation_config.json, or of
  // config.json where there is no such file.
  std::vector<TokenId> end_ids;
  // The tokens that a template may name, as transformers' special_tokens_map: ("bos_token", "<s>").
  std::vector<std::pair<std::string, std::string>> named_tokens;
  // What a user should know of how the files were read, in whole sentences.
  std::vector<std::string> notes;
};

// The ids of each text, in the order of `texts` and the same for any number of threads; the calling
// thread works too. Throws ConfigError for `threads` below 1, and what encode() throws for the
// first text that fails.
std::vector<std::vector<TokenId>> encode_batch(const Tokenizer& tokenizer,
                                               std::span<const std::string> texts,
                                               std::int64_t threads, EncodeOptions options = {});

// Loads `tokenizer.json`, else `tokenizer.model` (SentencePiece: below), else `vocab.json` with
// `merges.txt` (cut as Qwen2 does where the configs name that class, else as GPT-2 does).
// `truncation` and `padding` of a tokenizer.json are settings of its writer's last call and are not
// applied. `add_bos_token`, `add_eos_token`, `legacy` and `add_prefix_space` of
// tokenizer_config.json shape a tokenizer.model, the first two vocab.json with merges.txt as well;
// a tokenizer.json says these things itself, and its post-processor stays whatever they say, as in
// transformers 5. Throws IoError (no such files) and FormatError, naming the part of the file that
// is not implemented.
//
// Added tokens come from several files, as in transformers 5: those of the tokenizer's own file;
// `added_tokens_decoder` of tokenizer_config.json, or where it is absent added_tokens.json; the
// tokens that tokenizer_config.json names (`bos_token`, `image_token`, ...), over which
// special_tokens_map.json stands where there is no `added_tokens_decoder` (it is not looked at
// where there is one); `extra_special_tokens` or `additional_special_tokens`. A later description
// replaces the marks of an earlier one but "special", named tokens are special, and a token without
// an id gets the next free one. Where a file gives a token another id than that, FormatError names
// both.
//
// The pipeline of a tokenizer.json stands whatever the class: transformers 5 takes only vocabulary,
// merges and post-processor of it for classes such as LlamaTokenizer and builds the rest itself,
// which gives other ids where the file prepends a space behind special tokens (Llama 2's does).
//
// A `tokenizer.model` of BPE that keeps white space and puts a space in front (Llama's, Mistral's)
// is read as transformers' LlamaTokenizer reads it, which puts none before a text that begins with
// one. Any other, which LlamaTokenizer misreads (it looks at neither the model's kind nor its
// normalization), is what the sentencepiece library (0.2) makes of each stretch of text between
// special tokens: unigram, BPE or characters; charsmap, white space, prefix or suffix, symbols of
// the user's, byte fallback. In front of the first stretch alone, with `legacy: true` of each,
// stands the space that `add_prefix_space`, else the model itself asks for.
std::shared_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& model_directory);

}  // namespace corda::tokenizer
