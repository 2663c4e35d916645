// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "bpe.h"

#include <algorithm>
#include <cstdio>
#include <queue>

#include "byte_level.h"
#include "corda/core/error.h"
#include "unicode.h"

namespace corda::tokenizer {

namespace {

constexpr std::size_t kShortWord = 48;

}  // namespace

Bpe::Bpe(Vocabulary vocabulary, const MergeList& merges, BpeOptions options,
         const std::string& source)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)), merges_(merges.size()) {
  plain_ = options_.continuing_prefix.empty() && options_.end_of_word_suffix.empty();
  if (options_.unknown_token) {
    unknown_ = vocabulary_.find(*options_.unknown_token);
    if (!unknown_)
      throw core::FormatError(core::concat(source, ": the unknown token '", *options_.unknown_token,
                                           "' is not in the vocabulary"));
  }
  for (unsigned byte = 0; byte < 256; ++byte) {
    const std::string written = bytes_to_chars(std::string(1, static_cast<char>(byte)));
    byte_ids_[byte] = vocabulary_.find(written).value_or(-1);
  }
  fallback_ = byte_tokens(vocabulary_);
  add_merges(merges, source);
  // Llama's files have no pre-tokenizer: this is what makes their words short.
  if (!options_.raw_bytes && plain_ && !options_.ignore_merges)
    safe_cut_ = find_safe_cut(vocabulary_);
}

void Bpe::add_merges(const MergeList& merges, const std::string& source) {
  const std::size_t prefix = options_.continuing_prefix.size();
  std::uint32_t rank = 0;
  const auto id_of = [&](const std::string& token) {
    const std::optional<TokenId> id = vocabulary_.find(token);
    if (!id)
      throw core::FormatError(core::concat(source, ": the merge ", rank, " needs the token '",
                                           token, "', which is not in the vocabulary"));
    return *id;
  };
  for (const auto& [left, right] : merges) {
    if (right.size() < prefix)
      throw core::FormatError(core::concat(source, ": the merge ", rank, " lacks the prefix '",
                                           options_.continuing_prefix, "'"));
    const TokenId a = id_of(left);
    const TokenId b = id_of(right);
    const TokenId result = id_of(left + right.substr(prefix));
    merges_.set(static_cast<std::uint32_t>(a), static_cast<std::uint32_t>(b), Merge{rank, result});
    ++rank;
  }
}

void Bpe::tokenize(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const {
  for_each_safe_part(word, safe_cut_,
                     [&](std::string_view part) { tokenize_word(part, scratch, ids); });
}

void Bpe::tokenize_word(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const {
  scratch.words.append(word, ids, [&] {
    const std::size_t begin = ids.size();
    std::optional<TokenId> whole;
    if (options_.ignore_merges)
      whole = vocabulary_.find(options_.raw_bytes ? bytes_to_chars(word) : std::string(word));
    if (whole) {
      ids.push_back(*whole);
      return;
    }
    initial_symbols(word, ids);
    if (ids.size() - begin <= kShortWord) {
      merge_short(ids, begin);
    } else {
      merge_long(ids, begin);
    }
  });
}

// Makes one symbol of each character (or byte): its token, else its bytes' tokens, else the unknown
// token.
void Bpe::initial_symbols(std::string_view word, std::vector<TokenId>& ids) const {
  std::optional<TokenId>
      pending;  // an unknown token not yet written, so that the next may fuse with it
  for (std::size_t at = 0; at < word.size();) {
    const std::size_t size = options_.raw_bytes ? 1 : utf8_length(word[at]);
    if (plain_ && !pending) {
      const TokenId id = options_.raw_bytes ? byte_ids_[static_cast<std::uint8_t>(word[at])]
                                            : vocabulary_.find(word.substr(at, size)).value_or(-1);
      if (id >= 0) {
        ids.push_back(id);
        at += size;
        continue;
      }
    }
    std::string symbol(word.substr(at, size));
    if (options_.raw_bytes) symbol = bytes_to_chars(symbol);
    if (at > 0) symbol.insert(0, options_.continuing_prefix);
    at += size;
    if (at == word.size()) symbol += options_.end_of_word_suffix;
    add_symbol(std::move(symbol), pending, ids);
  }
  if (pending) ids.push_back(*pending);
}

void Bpe::add_symbol(std::string symbol, std::optional<TokenId>& pending,
                     std::vector<TokenId>& ids) const {
  if (const std::optional<TokenId> id = vocabulary_.find(symbol)) {
    if (pending) ids.push_back(*pending);
    pending.reset();
    ids.push_back(*id);
    return;
  }
  if (options_.byte_fallback) {
    const auto token_of = [&](char byte) { return fallback_[static_cast<std::uint8_t>(byte)]; };
    if (std::all_of(symbol.begin(), symbol.end(), [&](char byte) { return token_of(byte) >= 0; })) {
      // A pending unknown token stays pending, as in the reference: it is written behind these
      // bytes.
      for (const char byte : symbol) ids.push_back(token_of(byte));
      return;
    }
  }
  if (!unknown_) return;  // without an unknown token such characters vanish, as in the reference
  if (pending && !options_.fuse_unknown) ids.push_back(*pending);
  pending = unknown_;
}

// Scans all pairs for each merge: quadratic, and the fastest for short words.
void Bpe::merge_short(std::vector<TokenId>& ids, std::size_t begin) const {
  std::array<const Merge*, kShortWord> pairs{};  // of each symbol with the next
  TokenId* symbols = ids.data() + begin;
  std::size_t count = ids.size() - begin;
  for (std::size_t i = 0; i + 1 < count; ++i) pairs[i] = merge_of(symbols[i], symbols[i + 1]);
  while (count > 1) {
    std::size_t best = count;
    for (std::size_t i = 0; i + 1 < count; ++i) {
      if (pairs[i] != nullptr && (best == count || pairs[i]->rank < pairs[best]->rank)) best = i;
    }
    if (best == count) break;
    symbols[best] = pairs[best]->result;
    for (std::size_t i = best + 1; i + 1 < count; ++i) {
      symbols[i] = symbols[i + 1];
      pairs[i] = pairs[i + 1];
    }
    --count;
    pairs[best] = best + 1 < count ? merge_of(symbols[best], symbols[best + 1]) : nullptr;
    if (best > 0) pairs[best - 1] = merge_of(symbols[best - 1], symbols[best]);
  }
  ids.resize(begin + count);
}

// Keeps a heap of candidate merges over a linked list, which takes n log n.
void Bpe::merge_long(std::vector<TokenId>& ids, std::size_t begin) const {
  struct Candidate {
    std::uint32_t rank;
    std::int32_t at;
    TokenId result;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  const auto count = static_cast<std::int32_t>(ids.size() - begin);
  std::vector<Symbol> symbols(static_cast<std::size_t>(count));
  const auto symbol = [&](std::int32_t i) -> Symbol& {
    return symbols[static_cast<std::size_t>(i)];
  };
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto propose = [&](std::int32_t at) {
    if (at < 0 || symbol(at).next < 0) return;
    if (const Merge* merge = merge_of(symbol(at).id, symbol(symbol(at).next).id))
      queue.push({merge->rank, at, merge->result});
  };
  for (std::int32_t i = 0; i < count; ++i) {
    symbol(i) = {ids[begin + static_cast<std::size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1, true};
  }
  for (std::int32_t i = 0; i < count; ++i) propose(i);
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbol(top.at);
    if (!left.alive || left.next < 0) continue;
    Symbol& right = symbol(left.next);
    const Merge* merge = merge_of(left.id, right.id);
    if (merge == nullptr || merge->result != top.result) continue;  // the pair changed since
    left.id = top.result;
    right.alive = false;
    left.next = right.next;
    if (left.next >= 0) symbol(left.next).previous = top.at;
    propose(left.previous);
    propose(top.at);
  }
  ids.resize(begin);
  for (std::int32_t i = 0; i >= 0 && i < count; i = symbol(i).next) ids.push_back(symbol(i).id);
}

}  // namespace corda::tokenizer
