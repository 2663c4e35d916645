// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The small JSON files beside a tokenizer, read as transformers 5 reads them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "added_tokens.h"
#include "core/json.h"

namespace corda::tokenizer {

// An added token as a file gives it.
struct NamedToken {
  std::string name;  // "bos_token", ...; "" in a list
  AddedToken token;  // id -1: the file gives none
  std::string from;  // the file's path
};

// Where tokenizer_config.json has an `added_tokens_decoder`, special_tokens_map.json and
// added_tokens.json are older than it and not looked at; else the former stands above it.
class SideFiles {
 public:
  // An absent file is an empty object.
  explicit SideFiles(const std::filesystem::path& directory);

  // A boolean of tokenizer_config.json, or nullopt where it is absent or null.
  std::optional<bool> flag(const char* key) const;
  // bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token, then a model's
  // own (image_token, ...): those that a file names, a null or an empty text as an empty content.
  std::vector<NamedToken> named() const;
  // model_specific_special_tokens.
  std::vector<NamedToken> model_specific() const;
  // extra_special_tokens, else additional_special_tokens.
  std::vector<NamedToken> extra() const;
  // added_tokens_decoder, else added_tokens.json; by id.
  std::vector<NamedToken> added() const;
  bool has_decoder() const { return has_decoder_; }

  // tokenizer_class of tokenizer_config.json without "Fast", or "".
  std::string hub_class() const;
  // The class that transformers' AutoTokenizer makes; "" for the general one, which takes a
  // tokenizer.json as it is.
  std::string tokenizer_class() const;
  std::string model_type() const;
  // vocab_size of config.json or of its text_config.
  std::optional<std::int64_t> model_rows() const;

  // The ids under `key` in generation_config.json and config.json (or its text_config), each a
  // number or a list. Throws FormatError for anything else that is not null; an id below 0 means
  // none.
  std::vector<std::int64_t> generation_ids(const char* key) const;
  std::vector<std::int64_t> config_ids(const char* key) const;
  bool has_generation_config() const { return has_generation_config_; }

 private:
  std::string path(const char* file) const { return (directory_ / file).string(); }

  std::filesystem::path directory_;
  core::Json tokenizer_config_;
  core::Json special_tokens_map_;
  core::Json added_tokens_;
  core::Json generation_config_;
  core::Json config_;
  bool has_decoder_ = false;
  bool has_generation_config_ = false;
};

// One added token as tokenizer.json and added_tokens_decoder describe it; `id` is read from the
// object when -1.
AddedToken added_token_from_json(const core::Json& json, const std::string& where,
                                 std::int64_t id = -1);

}  // namespace corda::tokenizer
