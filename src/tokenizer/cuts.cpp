// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "cuts.h"

#include <algorithm>
#include <optional>
#include <string>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "unicode.h"

namespace corda::tokenizer {

namespace {

// How far to look for a place where the text can be cut without changing the tokens before it.
constexpr int kReach = 64;

bool is_front(const std::vector<TokenId>& front, const std::vector<TokenId>& ids) {
  return front.size() <= ids.size() && std::equal(front.begin(), front.end(), ids.begin());
}

// A place where the text can be cut, and how many ids are before it.
struct Stable {
  std::size_t place = 0;
  std::size_t count = 0;
};

std::optional<Stable> stable_at(std::string_view text, std::size_t place,
                                const std::vector<TokenId>& ids, const EncodeFront& encode_front) {
  if (place == 0) return Stable{};
  if (place == text.size()) return Stable{place, ids.size()};
  const std::vector<TokenId> front = encode_front(text.substr(0, place));
  if (!is_front(front, ids)) return std::nullopt;
  return Stable{place, front.size()};
}

constexpr std::string_view kMetaspace = "\xE2\x96\x81";  // U+2581

// How tokens are written: by GPT-2 (a character a byte), by SentencePiece, as parts of words ("##"
// before what goes on with one, "</w>" where one ends).
enum class Spelling { kByteLevel, kSentencePiece, kWordPart };

// The bytes of text that a token stands for.
std::int64_t bytes_of(std::string_view token, Spelling spelling) {
  if (spelling == Spelling::kSentencePiece && token.size() == 6 && token.starts_with("<0x") &&
      token.ends_with('>'))
    return 1;
  if (spelling == Spelling::kWordPart) {
    if (token.starts_with("##")) token.remove_prefix(2);
    if (token.ends_with("</w>")) token.remove_suffix(4);
  }
  std::int64_t bytes = 0;
  for (std::size_t at = 0; at < token.size();) {
    const std::size_t begin = at;
    next_code_point(token, at);
    const bool one =
        spelling == Spelling::kByteLevel ||
        (spelling == Spelling::kSentencePiece && token.substr(begin, at - begin) == kMetaspace);
    bytes += one ? 1 : static_cast<std::int64_t>(at - begin);
  }
  return bytes;
}

// Counts the tokens before `place`, between two stable places, by the lengths of the tokens there.
std::optional<std::int64_t> count_by_length(const Tokenizer& tokenizer, std::string_view text,
                                            const std::vector<TokenId>& ids, const Stable& left,
                                            const Stable& right, std::size_t place) {
  for (const Spelling spelling :
       {Spelling::kByteLevel, Spelling::kSentencePiece, Spelling::kWordPart}) {
    auto at = static_cast<std::int64_t>(left.place);
    // A space that the tokenizer put in front of the text has no place in it.
    const std::string first = tokenizer.id_to_token(ids[left.count]);
    if (spelling == Spelling::kSentencePiece && left.place == 0 && first.starts_with(kMetaspace) &&
        text.front() != ' ')
      --at;
    std::int64_t count = 0;
    for (std::size_t i = left.count; i < right.count; ++i) {
      if (at < static_cast<std::int64_t>(place)) count = static_cast<std::int64_t>(i) + 1;
      at += bytes_of(tokenizer.id_to_token(ids[i]), spelling);
    }
    if (at == static_cast<std::int64_t>(right.place)) return count;
  }
  return std::nullopt;
}

}  // namespace

std::int64_t count_before(const Tokenizer& tokenizer, std::string_view text,
                          const std::vector<TokenId>& ids, std::size_t place,
                          const EncodeFront& encode_front) {
  if (const auto stable = stable_at(text, place, ids, encode_front))
    return static_cast<std::int64_t>(stable->count);
  std::optional<Stable> left, right;
  std::size_t at = place;
  for (int i = 0; i < kReach && !left; ++i) {
    do --at;
    while (at > 0 && core::is_utf8_continuation(text[at]));
    left = stable_at(text, at, ids, encode_front);
  }
  at = place;
  for (int i = 0; i < kReach && !right; ++i) {
    do ++at;
    while (at < text.size() && core::is_utf8_continuation(text[at]));
    right = stable_at(text, at, ids, encode_front);
  }
  if (left && right && right->count == left->count + 1)
    return static_cast<std::int64_t>(right->count);
  if (left && right && right->count > left->count) {
    if (const auto count = count_by_length(tokenizer, text, ids, *left, *right, place))
      return *count;
  }
  throw core::FormatError(core::concat("the tokenizer blurs byte ", place, " of '",
                                       text.substr(0, std::min<std::size_t>(text.size(), 80)),
                                       "': which tokens stand before it cannot be told"));
}

void fail_cut_utf8() { throw core::FormatError("the text is not valid UTF-8"); }

CutEncoding Tokenizer::encode_with_cuts(std::string_view text, std::span<const std::int64_t> places,
                                        EncodeOptions options) const {
  if (!is_valid_utf8(text)) fail_cut_utf8();
  options.add_special_tokens = false;
  const auto encode_front = [&](std::string_view front) {
    EncodeOptions clipped = options;
    std::vector<ByteSpan> literal;
    for (const ByteSpan& span : options.literal) {
      if (span.begin < static_cast<std::int64_t>(front.size()))
        literal.push_back(
            {span.begin, std::min(span.end, static_cast<std::int64_t>(front.size()))});
    }
    clipped.literal = literal;
    return encode(front, clipped);
  };
  CutEncoding result{.ids = encode(text, options), .cuts = {}};
  for (const std::int64_t place : places) {
    if (place <= 0) {
      result.cuts.push_back(0);
    } else if (place >= static_cast<std::int64_t>(text.size())) {
      result.cuts.push_back(static_cast<std::int64_t>(result.ids.size()));
    } else {
      result.cuts.push_back(
          count_before(*this, text, result.ids, static_cast<std::size_t>(place), encode_front));
    }
  }
  return result;
}

}  // namespace corda::tokenizer
