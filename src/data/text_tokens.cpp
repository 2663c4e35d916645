// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/text_tokens.h"

#include <algorithm>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/parallel.h"
#include "corda/core/text.h"
#include "corda/data/template.h"

namespace corda::data {

namespace {

constexpr int kAttempts = 16;  // places of each kind that are tried for one cut

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

bool begins_with(const std::vector<TokenId>& ids, const std::vector<TokenId>& front) {
  return front.size() <= ids.size() && std::equal(front.begin(), front.end(), ids.begin());
}

}  // namespace

TextTokens::TextTokens(const tokenizer::Tokenizer& tokenizer, std::int64_t threads, Sink sink,
                       Sizes sizes)
    : tokenizer_(tokenizer),
      threads_(threads),
      sink_(std::move(sink)),
      sizes_(sizes),
      wanted_(sizes.part * static_cast<std::size_t>(threads) + 2 * sizes.context) {}

void TextTokens::add(std::string_view text) {
  text_ += text;
  if (text_.size() - given_ >= wanted_) give(false);
}

void TextTokens::finish() {
  give(true);
  text_.clear();
  given_ = 0;
}

void TextTokens::give(bool all) {
  std::vector<std::size_t> places = {given_};
  const std::size_t end = text_.size();
  for (std::size_t from = given_ + sizes_.part; from + sizes_.context < end;) {
    const std::size_t to = std::min(from + sizes_.part, end - sizes_.context);
    const std::size_t cut = find_cut(from, to);
    if (cut > 0) places.push_back(cut);
    from = (cut > 0 ? cut : to) + sizes_.part;
  }
  if (all && places.back() < end) places.push_back(end);
  const std::size_t least = sizes_.part * static_cast<std::size_t>(threads_) + 2 * sizes_.context;
  // Without a cut the next attempt waits for twice the text, so that the work stays in proportion.
  wanted_ = places.size() > 1 ? least : 2 * (end - given_);
  if (places.size() < 2) return;
  std::vector<std::vector<TokenId>> parts(places.size() - 1);
  core::parallel_for(static_cast<std::int64_t>(parts.size()), threads_, 1, [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    parts[at] = tokens_between(places[at], places[at + 1]);
  });
  for (const auto& ids : parts) sink_(ids);
  const std::size_t context = context_begin(places.back());
  given_ = places.back() - context;
  text_.erase(0, context);
}

// Where the context of `place` begins: sizes_.context bytes before it, or the character there.
std::size_t TextTokens::context_begin(std::size_t place) const {
  std::size_t at = place > sizes_.context ? place - sizes_.context : 0;
  while (at > 0 && core::is_utf8_continuation(text_[at])) --at;
  return at;
}

// A place in [from, to) where the text can be cut; 0 where none was found. The beginning of a line
// is likeliest, then a space, which most tokens begin with.
std::size_t TextTokens::find_cut(std::size_t from, std::size_t to) const {
  for (const bool lines : {true, false}) {
    int tried = 0;
    for (std::size_t at = from; at < to && tried < kAttempts; ++at) {
      const bool candidate = lines ? text_[at - 1] == '\n' && !is_space(text_[at])
                                   : is_space(text_[at]) && !is_space(text_[at - 1]);
      if (!candidate) continue;
      ++tried;
      if (is_cut(at)) return at;
    }
  }
  return 0;
}

// Whether the tokens before `place` are the same with what follows it and without.
bool TextTokens::is_cut(std::size_t place) const {
  const std::size_t begin = context_begin(place);
  std::size_t end = std::min(place + sizes_.context, text_.size());
  while (end > place && end < text_.size() && core::is_utf8_continuation(text_[end])) --end;
  return begins_with(encode_plain(tokenizer_, between(begin, end)),
                     encode_plain(tokenizer_, between(begin, place)));
}

std::vector<TokenId> TextTokens::tokens_between(std::size_t begin, std::size_t end) const {
  const std::size_t context = context_begin(begin);
  std::vector<TokenId> ids = encode_plain(tokenizer_, between(context, end));
  if (context == begin) return ids;
  const std::vector<TokenId> front = encode_plain(tokenizer_, between(context, begin));
  if (!begins_with(ids, front)) {
    throw core::FormatError(core::concat("tokens reach further than ", sizes_.context,
                                         " bytes into the text; split it into several files"));
  }
  ids.erase(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(front.size()));
  return ids;
}

}  // namespace corda::data
