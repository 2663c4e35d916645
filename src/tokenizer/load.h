// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The ways a directory may hold a tokenizer.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "added_tokens.h"
#include "corda/tokenizer/tokenizer.h"
#include "core/json.h"

namespace corda::tokenizer {

// The small JSON files beside a tokenizer; an empty object stands for a file that is absent.
struct SideFiles {
  explicit SideFiles(const std::filesystem::path& directory);

  core::Json tokenizer_config;
  core::Json special_tokens_map;
  core::Json generation_config;
  core::Json config;
  std::string where;  // the path of tokenizer_config.json

  // A boolean of tokenizer_config.json, or nullopt where it is absent or null.
  std::optional<bool> flag(const char* key) const;
  // The content of a token such as "bos_token": nullopt where no file names it. A null is an empty
  // text.
  std::optional<std::string> token(const char* key) const;
  // tokenizer_class without "Fast", or "".
  std::string tokenizer_class() const;
  // added_tokens_decoder of tokenizer_config.json, with its ids.
  std::vector<AddedToken> added_tokens() const;
};

std::shared_ptr<Tokenizer> load_tokenizer_json(const std::filesystem::path& file);
std::shared_ptr<Tokenizer> load_bpe_files(const std::filesystem::path& vocab,
                                          const std::filesystem::path& merges,
                                          const SideFiles& side);
std::shared_ptr<Tokenizer> load_sentencepiece(const std::filesystem::path& file,
                                              const SideFiles& side);

// Sets bos_id, eos_id, pad_id and starts_with_bos; an id that no file names stays as it is.
void set_special_ids(Tokenizer& tokenizer, const SideFiles& side);

// One added token as tokenizer.json and tokenizer_config.json describe it; `id` is read from the
// object when -1.
AddedToken added_token_from_json(const core::Json& json, const std::string& where,
                                 std::int64_t id = -1);

}  // namespace corda::tokenizer
