// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "pipeline.h"

#include <algorithm>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "cuts.h"
#include "unicode.h"

namespace corda::tokenizer {

PipelineTokenizer::PipelineTokenizer(PipelineParts parts)
    : parts_(std::move(parts)), size_(parts_.model->vocabulary().end()) {
  for (const AddedToken& token : parts_.added.tokens())
    size_ = std::max<std::int64_t>(size_, token.id + 1);
  prefix = parts_.prefix;
}

void PipelineTokenizer::surround(std::vector<TokenId> before, std::vector<TokenId> behind) {
  parts_.prefix = std::move(before);
  parts_.suffix = std::move(behind);
  prefix = parts_.prefix;
}

std::vector<TokenId> PipelineTokenizer::encode(std::string_view text, EncodeOptions options) const {
  std::string repaired;
  if (!is_valid_utf8(text)) {
    repaired = replace_invalid_utf8(text);
    text = repaired;
  }
  const ScratchPool::Lease lease(pool_);
  Scratch& scratch = *lease;
  scratch.begin(text.size());
  parts_.added.extract(text, parts_.normalizer.get(), options.parse_special, scratch,
                       options.literal);
  std::vector<TokenId> ids;
  ids.reserve(text.size() / 3 + 4);
  if (options.add_special_tokens) ids = parts_.prefix;
  tokenize_pieces(scratch, ids);
  if (options.add_special_tokens) ids.insert(ids.end(), parts_.suffix.begin(), parts_.suffix.end());
  return ids;
}

void PipelineTokenizer::tokenize_pieces(Scratch& scratch, std::vector<TokenId>& ids) const {
  if (parts_.pre_tokenizer) parts_.pre_tokenizer->split(scratch);
  for (const Piece& piece : scratch.pieces) {
    if (piece.id >= 0) {
      ids.push_back(piece.id);
    } else {
      parts_.model->tokenize(piece.text, scratch, ids);
    }
  }
}

// Text between two recognised tokens is tokenised for itself, so a place is looked for in its part
// alone.
CutEncoding PipelineTokenizer::encode_with_cuts(std::string_view text,
                                                std::span<const std::int64_t> places,
                                                EncodeOptions options) const {
  if (!is_valid_utf8(text)) fail_cut_utf8();
  const ScratchPool::Lease lease(pool_);
  Scratch& scratch = *lease;
  std::vector<Piece> parts;
  parts_.added.extract_raw(text, options.parse_special, options.literal, parts);
  CutEncoding result;
  auto place = places.begin();
  const auto here = [&] { return static_cast<std::int64_t>(result.ids.size()); };
  for (const Piece& part : parts) {
    const std::int64_t begin = part.text.data() - text.data();
    const std::int64_t end = begin + static_cast<std::int64_t>(part.text.size());
    for (; place != places.end() && *place <= begin; ++place) result.cuts.push_back(here());
    if (part.id >= 0) {
      result.ids.push_back(part.id);
      for (; place != places.end() && *place < end; ++place) result.cuts.push_back(here());
      continue;
    }
    std::vector<ByteSpan> literal;
    spans_inside(options.literal, begin, part.text.size(), literal);
    const auto encode_part = [&](std::string_view front) {
      std::vector<ByteSpan> clipped;
      spans_inside(literal, 0, front.size(), clipped);
      scratch.begin(front.size());
      scratch.pieces.clear();
      parts_.added.extract_normalized({.text = front, .first_bytes = part.first_bytes},
                                      parts_.normalizer.get(), options.parse_special, clipped,
                                      scratch);
      std::vector<TokenId> ids;
      tokenize_pieces(scratch, ids);
      return ids;
    };
    const std::vector<TokenId> ids = encode_part(part.text);
    for (; place != places.end() && *place < end; ++place) {
      result.cuts.push_back(here() + count_before(*this, part.text, ids,
                                                  static_cast<std::size_t>(*place - begin),
                                                  encode_part));
    }
    result.ids.insert(result.ids.end(), ids.begin(), ids.end());
  }
  for (; place != places.end(); ++place) result.cuts.push_back(here());
  return result;
}

std::string PipelineTokenizer::decode(std::span<const TokenId> ids, DecodeOptions options) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const TokenId id : ids) {
    const AddedToken* added = parts_.added.find(id);
    if (added == nullptr) {
      if (const auto token = parts_.model->vocabulary().token(id)) tokens.emplace_back(*token);
      continue;
    }
    // The reference looks for what it will write among the special tokens: one that a normalizer
    // changes is not found there and stays.
    const AddedToken* named =
        options.skip_special_tokens ? parts_.added.find(added->text) : nullptr;
    if (named == nullptr || !named->special) tokens.push_back(added->text);
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
    throw core::ConfigError(
        core::concat("the id ", id, " is not in the vocabulary, whose ids end at ", size_ - 1));
  }
  return std::string(*token);
}

bool PipelineTokenizer::is_special(TokenId id) const {
  const AddedToken* added = parts_.added.find(id);
  return added != nullptr && added->special;
}

}  // namespace corda::tokenizer
