// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "pipeline.h"

#include <algorithm>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "unicode.h"

namespace corda::tokenizer {

PipelineTokenizer::PipelineTokenizer(PipelineParts parts)
    : parts_(std::move(parts)), size_(parts_.model->vocabulary().end()) {
  for (const AddedToken& token : parts_.added.tokens())
    size_ = std::max<std::int64_t>(size_, token.id + 1);
}

std::vector<TokenId> PipelineTokenizer::encode(std::string_view text, EncodeOptions options) const {
  std::string repaired;
  if (!is_valid_utf8(text)) {
    repaired = replace_invalid_utf8(text);
    text = repaired;
  }
  const ScratchPool::Lease lease(pool_);
  Scratch& scratch = *lease;
  parts_.added.extract(text, parts_.normalizer.get(), options.parse_special, scratch);
  if (parts_.pre_tokenizer) parts_.pre_tokenizer->split(scratch);
  std::vector<TokenId> ids;
  ids.reserve(text.size() / 3 + 4);
  if (options.add_special_tokens) ids = parts_.prefix;
  for (const Piece& piece : scratch.pieces) {
    if (piece.id >= 0) {
      ids.push_back(piece.id);
    } else {
      parts_.model->tokenize(piece.text, scratch, ids);
    }
  }
  if (options.add_special_tokens) ids.insert(ids.end(), parts_.suffix.begin(), parts_.suffix.end());
  return ids;
}

std::string PipelineTokenizer::decode(std::span<const TokenId> ids, DecodeOptions options) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const TokenId id : ids) {
    const AddedToken* added = parts_.added.find(id);
    if (options.skip_special_tokens && added != nullptr && added->special) continue;
    tokens.push_back(added != nullptr ? added->text : id_to_token(id));
  }
  if (!parts_.decoder) return core::join(tokens, " ");
  parts_.decoder->decode(tokens);
  return core::join(tokens, "");
}

std::optional<TokenId> PipelineTokenizer::token_to_id(std::string_view token) const {
  if (const AddedToken* added = parts_.added.find(token)) return added->id;
  return parts_.model->vocabulary().find(token);
}

std::string PipelineTokenizer::id_to_token(TokenId id) const {
  if (const AddedToken* added = parts_.added.find(id)) return added->content;
  const std::optional<std::string_view> token = parts_.model->vocabulary().token(id);
  if (!token) {
    throw core::ConfigError(core::concat("[tokenizer::decode] the id ", id,
                                         " is not in the vocabulary, whose ids end at ",
                                         size_ - 1));
  }
  return std::string(*token);
}

bool PipelineTokenizer::is_special(TokenId id) const {
  const AddedToken* added = parts_.added.find(id);
  return added != nullptr && added->special;
}

}  // namespace corda::tokenizer
