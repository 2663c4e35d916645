// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "sentencepiece_normalizer.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "charsmap.h"
#include "corda/core/text.h"
#include "unicode.h"

namespace corda::tokenizer {

namespace {

// A part of the text and what it becomes.
struct Rewritten {
  std::string_view text;
  std::size_t length = 0;  // bytes that it stands for
};

class SentencePieceNormalizer final : public PreTokenizer {
 public:
  SentencePieceNormalizer(const SentencePieceSpec& spec, PrependScheme dummy,
                          const std::string& source)
      : trims_(spec.remove_extra_whitespaces),
        dummy_behind_(spec.whitespace_as_suffix),
        dummy_(dummy),
        space_(spec.escape_whitespaces ? "\u2581" : " ") {
    if (!spec.charsmap.empty()) charsmap_.emplace(spec.charsmap, source);
    for (const SentencePiecePiece& piece : spec.pieces) {
      if (piece.type != SentencePiecePiece::kUserDefined || piece.text.empty()) continue;
      symbols_.push_back(piece.text);
      begins_symbol_[static_cast<std::uint8_t>(piece.text.front())] = true;
    }
    // Longer symbols come first, for of two that fit the longer one counts.
    std::sort(symbols_.begin(), symbols_.end(),
              [](const auto& a, const auto& b) { return a.size() > b.size(); });
  }

  void split(Scratch& scratch) const override {
    for_each_text(scratch, [&](const Piece& piece, std::vector<Piece>& out) {
      const bool dummy = dummy_ == PrependScheme::kAlways ||
                         (dummy_ == PrependScheme::kFirst && piece.at_beginning());
      const std::string text = normalize(piece.text, dummy, scratch);
      if (!text.empty())
        out.push_back({.text = scratch.keep(text), .first_bytes = piece.first_bytes});
    });
  }

 private:
  std::string normalize(std::string_view text, bool dummy, const Scratch& scratch) const {
    if (trims_) {
      for (Rewritten part; !text.empty(); text.remove_prefix(part.length)) {
        part = rewrite(text);
        if (part.text != " ") break;
      }
    }
    if (text.empty()) return {};
    std::string out;
    if (dummy && !dummy_behind_) out += space_;
    bool behind_space = trims_;
    while (!text.empty()) {
      auto [part, length] = rewrite(text);
      while (behind_space && part.starts_with(' ')) part.remove_prefix(1);
      for (const char c : part) c == ' ' ? out += space_ : out += c;
      if (!part.empty()) behind_space = trims_ && part.ends_with(' ');
      text.remove_prefix(length);
      scratch.require(out.size());
    }
    while (trims_ && out.ends_with(space_)) out.resize(out.size() - space_.size());
    if (dummy && dummy_behind_) out += space_;
    return out;
  }

  // Rewrites the beginning of `text`: a symbol of the user's stays as it is, else the longest entry
  // of the charsmap is replaced, else one character stays.
  Rewritten rewrite(std::string_view text) const {
    if (begins_symbol_[static_cast<std::uint8_t>(text.front())]) {
      for (const std::string& symbol : symbols_)
        if (text.starts_with(symbol)) return {text.substr(0, symbol.size()), symbol.size()};
    }
    if (charsmap_) {
      if (const auto entry = charsmap_->longest(text)) return {entry->replacement, entry->length};
    }
    // An entry may end inside a character.
    if (core::is_utf8_continuation(text.front())) return {"\uFFFD", 1};
    const std::size_t length = std::min(utf8_length(text.front()), text.size());
    return {text.substr(0, length), length};
  }

  bool trims_;
  bool dummy_behind_;
  PrependScheme dummy_;
  std::string space_;
  std::array<bool, 256> begins_symbol_{};
  std::vector<std::string> symbols_;  // the user's
  std::optional<Charsmap> charsmap_;
};

}  // namespace

PreTokenizerPtr make_sentencepiece_normalizer(const SentencePieceSpec& spec, PrependScheme dummy,
                                              const std::string& source) {
  return std::make_unique<SentencePieceNormalizer>(spec, dummy, source);
}

}  // namespace corda::tokenizer
