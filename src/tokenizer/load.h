// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The ways a directory may hold a tokenizer.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "added_tokens.h"
#include "corda/tokenizer/tokenizer.h"
#include "pipeline.h"
#include "side_files.h"

namespace corda::tokenizer {

// A tokenizer as its own file describes it, before the small files beside that are looked at.
struct OwnTokenizer {
  std::string source;               // the path of the file, for messages
  PipelineParts parts;              // `added` stays empty until `assemble`
  std::vector<AddedToken> added;    // those of the file
  bool has_added_list = false;      // the file is a tokenizer.json, which lists them
  bool has_post_processor = false;  // ... and says itself what stands around a text
  bool prepends = false;            // a normalizer of it puts text before every stretch
  bool fills_placeholders = false;  // an added token may take the id of another piece
  bool adds_bos = false;            // where `add_bos_token` is not said
  std::optional<TokenId> bos_id, eos_id, pad_id;  // what the file itself names
  std::string tokenizer_class;                    // of transformers, whose tokens are the defaults
  std::string note;                               // what a user should know of the file; or ""
};

OwnTokenizer load_tokenizer_json(const std::filesystem::path& file, const SideFiles& side);
OwnTokenizer load_bpe_files(const std::filesystem::path& vocab, const std::filesystem::path& merges,
                            const SideFiles& side);
OwnTokenizer load_sentencepiece(const std::filesystem::path& file, const SideFiles& side);

// Adds the tokens that the small files name, with the ids and marks that transformers gives them,
// and sets every member of the tokenizer. Throws FormatError where a file gives a token another id.
std::shared_ptr<Tokenizer> assemble(OwnTokenizer own, const SideFiles& side);

}  // namespace corda::tokenizer
