// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/span_tokens.h"

#include <algorithm>
#include <utility>

#include "corda/core/text.h"

namespace corda::data {

using tokenizer::ByteSpan;

namespace {

// The byte behind the character that begins at `at`.
std::int64_t behind(std::string_view text, std::int64_t at) {
  auto next = static_cast<std::size_t>(at) + 1;
  while (next < text.size() && core::is_utf8_continuation(text[next])) ++next;
  return static_cast<std::int64_t>(std::min(next, text.size()));
}

}  // namespace

SpanTokens::SpanTokens(const tokenizer::Tokenizer& tokenizer, std::string_view text,
                       const std::vector<ByteSpan>& spans, std::vector<std::int64_t> places,
                       const tokenizer::EncodeOptions& options)
    : text_(text), places_(std::move(places)) {
  for (const ByteSpan& span : spans)
    places_.insert(places_.end(), {span.begin, behind(text, span.begin), span.end});
  std::sort(places_.begin(), places_.end());
  places_.erase(std::unique(places_.begin(), places_.end()), places_.end());
  auto encoding = tokenizer.encode_with_cuts(text, places_, options);
  ids_ = std::move(encoding.ids);
  cuts_ = std::move(encoding.cuts);
}

std::size_t SpanTokens::token_at(std::int64_t byte) const {
  const auto place = std::lower_bound(places_.begin(), places_.end(), byte) - places_.begin();
  return static_cast<std::size_t>(cuts_[static_cast<std::size_t>(place)]);
}

TokenRange SpanTokens::tokens_of(const ByteSpan& span) const {
  TokenRange range{token_at(span.begin), token_at(span.end)};
  // No token begins at the first character: the one that holds it begins before.
  if (range.begin > 0 && span.begin < span.end &&
      token_at(behind(text_, span.begin)) == range.begin)
    --range.begin;
  return range;
}

}  // namespace corda::data
