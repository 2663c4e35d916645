// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <utf8proc.h>

#include <utility>

#include "charsmap.h"
#include "normalizer.h"

namespace corda::tokenizer {

namespace {

// Counts the leading bytes of the output that belong to the first character of the original. The
// reference pairs old and new characters one by one, and an entry's surplus with its last one; so
// it is followed here, deletions at the very beginning, which it does not count, included.
class FirstBytes {
 public:
  explicit FirstBytes(const Piece& piece)
      : old_(piece.text), first_bytes_(piece.first_bytes), done_(!piece.at_beginning()) {}

  // `from` has become `to`.
  void replace(std::string_view from, std::string_view to) {
    if (done_) return;
    const std::ptrdiff_t more = count_characters(to) - count_characters(from);
    std::ptrdiff_t rest = count_characters(to);
    for (std::size_t at = 0; at < to.size(); --rest) {
      const std::size_t bytes = utf8_length(to[at]);
      push(bytes, rest <= more ? 1 : 0);
      at += bytes;
    }
    if (more < 0 && bytes_ > 0) change_ += more;
  }
  std::size_t finish() {
    push(0, 0);
    return first_out_;
  }

 private:
  // Counts the character before, which is complete only now.
  void push(std::size_t bytes, std::ptrdiff_t change) {
    if (bytes_ > 0 && !done_) {
      const bool first = change_ > 0 ? at_ == 0 || at_ - 1 < first_bytes_ : at_ < first_bytes_;
      if (first) first_out_ += bytes_;
      done_ = !first;
      for (std::ptrdiff_t n = 1 - change_; n > 0 && at_ < old_.size(); --n)
        at_ += utf8_length(old_[at_]);
    }
    bytes_ = bytes;
    change_ = change;
  }

  std::string_view old_;
  std::size_t first_bytes_;
  bool done_;
  std::size_t at_ = 0;         // in the old text
  std::size_t bytes_ = 0;      // of the last new character; 0: there is none
  std::ptrdiff_t change_ = 0;  // 1: it stands for no old one; -n: for n more
  std::size_t first_out_ = 0;
};

class Precompiled final : public Normalizer {
 public:
  Precompiled(std::string_view blob, const std::string& source) : map_(blob, source) {}

  void apply(Piece& piece, Scratch& scratch) const override {
    std::string out;
    out.reserve(piece.text.size() + 16);
    const std::string_view text = piece.text;
    FirstBytes first(piece);
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = cluster_end(text, begin);
      if (!append_cluster(text.substr(begin, end - begin), out, first))
        append_characters(text.substr(begin, end - begin), out, first);
      begin = end;
      scratch.require(out.size());
    }
    if (out == text) return;
    piece.text = scratch.keep(out);
    piece.first_bytes = first.finish();
  }

 private:
  // Extended grapheme clusters.
  static std::size_t cluster_end(std::string_view text, std::size_t begin) {
    std::size_t at = begin;
    auto previous = static_cast<utf8proc_int32_t>(next_code_point(text, at));
    utf8proc_int32_t state = 0;
    while (at < text.size()) {
      std::size_t next = at;
      const auto c = static_cast<utf8proc_int32_t>(next_code_point(text, next));
      if (utf8proc_grapheme_break_stateful(previous, c, &state)) break;
      previous = c;
      at = next;
    }
    return at;
  }

  // The reference looks short clusters up as one and takes the shortest entry that begins them for
  // the whole.
  bool append_cluster(std::string_view cluster, std::string& out, FirstBytes& first) const {
    constexpr std::size_t kLongest = 5;
    if (cluster.size() > kLongest) return false;
    const std::optional<std::string_view> found = map_.shortest(cluster);
    if (!found) return false;
    out += *found;
    first.replace(cluster, *found);
    return true;
  }

  void append_characters(std::string_view cluster, std::string& out, FirstBytes& first) const {
    for (std::size_t at = 0; at < cluster.size();) {
      const std::string_view character = cluster.substr(at, utf8_length(cluster[at]));
      const std::string_view made = map_.shortest(character).value_or(character);
      out += made;
      first.replace(character, made);
      at += character.size();
    }
  }

  Charsmap map_;
};

}  // namespace

NormalizerPtr make_precompiled(std::string_view blob, const std::string& source) {
  return std::make_unique<Precompiled>(blob, source);
}

}  // namespace corda::tokenizer
