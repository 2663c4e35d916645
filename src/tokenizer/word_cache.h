// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Remembers the ids of words already tokenized.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "corda/tokenizer/tokenizer.h"
#include "hash.h"

namespace corda::tokenizer {

// Bounded; forgets everything when it is full.
class WordCache {
 public:
  static constexpr std::size_t kLongestWord = 96;

  // Appends the ids of `word`, made by `make()`, which appends them, where it is not known.
  template <typename Make>
  void append(std::string_view word, std::vector<TokenId>& ids, Make make) {
    if (word.empty()) return;
    const std::uint64_t hash = hash_bytes(word);
    std::span<const TokenId> known;
    if (find(word, hash, known)) {
      ids.insert(ids.end(), known.begin(), known.end());
      return;
    }
    const std::size_t begin = ids.size();
    make();
    add(word, hash, std::span(ids).subspan(begin));
  }

 private:
  // The ids of `word`, or false where it is not known; `hash` is hash_bytes(word).
  bool find(std::string_view word, std::uint64_t hash, std::span<const TokenId>& ids) const {
    if (slots_.empty()) return false;
    for (std::size_t at = static_cast<std::size_t>(hash) & (kSlots - 1); slots_[at].length != 0;
         at = (at + 1) & (kSlots - 1)) {
      const Slot& slot = slots_[at];
      if (slot.hash == hash && std::string_view(text_).substr(slot.word, slot.length) == word) {
        ids = std::span(ids_).subspan(slot.ids, slot.count);
        return true;
      }
    }
    return false;
  }
  void add(std::string_view word, std::uint64_t hash, std::span<const TokenId> ids) {
    if (word.empty() || word.size() > kLongestWord) return;
    if (slots_.empty() || used_ >= kSlots / 2) {
      slots_.assign(kSlots, Slot{});
      text_.clear();
      ids_.clear();
      used_ = 0;
    }
    std::size_t at = static_cast<std::size_t>(hash) & (kSlots - 1);
    while (slots_[at].length != 0) at = (at + 1) & (kSlots - 1);
    slots_[at] = {hash, static_cast<std::uint32_t>(text_.size()),
                  static_cast<std::uint32_t>(ids_.size()), static_cast<std::uint32_t>(word.size()),
                  static_cast<std::uint32_t>(ids.size())};
    text_ += word;
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    ++used_;
  }

  static constexpr std::size_t kSlots = std::size_t{1} << 15;
  struct Slot {
    std::uint64_t hash = 0;
    std::uint32_t word = 0;
    std::uint32_t ids = 0;
    std::uint32_t length = 0;  // 0 = free
    std::uint32_t count = 0;
  };
  std::vector<Slot> slots_;
  std::string text_;
  std::vector<TokenId> ids_;
  std::size_t used_ = 0;
};

}  // namespace corda::tokenizer
