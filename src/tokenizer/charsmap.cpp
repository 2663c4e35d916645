// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "charsmap.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "corda/core/error.h"

namespace corda::tokenizer {

namespace {

// A unit of a double-array trie as Darts-clone packs it.
struct Unit {
  std::uint32_t bits = 0;
  bool has_leaf() const { return ((bits >> 8) & 1U) == 1; }
  std::uint32_t value() const { return bits & 0x7FFFFFFFU; }
  std::uint32_t label() const { return bits & 0x800000FFU; }
  std::uint32_t offset() const { return (bits >> 10) << ((bits & 0x200U) >> 6); }
};

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
    const auto size = [](std::string_view text) {
      return std::count_if(text.begin(), text.end(),
                           [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
    };
    const std::ptrdiff_t more = size(to) - size(from);
    std::ptrdiff_t rest = size(to);
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
  // The character before is complete only now.
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
  Precompiled(std::string_view blob, const std::string& source) {
    const auto fail = [&](std::string_view reason) {
      throw core::FormatError(core::concat(source, ": the precompiled charsmap ", reason));
    };
    const auto word = [&](std::size_t at) {
      std::uint32_t value = 0;
      for (std::size_t i = 0; i < 4; ++i)
        value |= std::uint32_t{static_cast<std::uint8_t>(blob[at + i])} << (8 * i);
      return value;
    };
    if (blob.size() < 4) fail("is shorter than its header");
    const std::size_t size = word(0);
    if (size == 0 || size % 4 != 0 || size > blob.size() - 4)
      fail(core::concat("names a trie of ", size, " bytes in ", blob.size()));
    for (std::size_t at = 4; at < 4 + size; at += 4) units_.push_back({word(at)});
    replacements_ = std::string(blob.substr(4 + size));
    if (!is_valid_utf8(replacements_)) fail("has replacements that are not UTF-8");
  }

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
    piece = {scratch.keep(out), -1, first.finish()};
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
    const std::optional<std::string_view> found = find(cluster);
    if (!found) return false;
    out += *found;
    first.replace(cluster, *found);
    return true;
  }

  void append_characters(std::string_view cluster, std::string& out, FirstBytes& first) const {
    for (std::size_t at = 0; at < cluster.size();) {
      const std::string_view character = cluster.substr(at, utf8_length(cluster[at]));
      const std::string_view made = find(character).value_or(character);
      out += made;
      first.replace(character, made);
      at += character.size();
    }
  }

  // The replacement of the shortest entry that begins `text`.
  std::optional<std::string_view> find(std::string_view text) const {
    std::size_t node = units_[0].offset();
    for (const char c : text) {
      const auto byte = static_cast<std::uint8_t>(c);
      if (byte == 0) break;
      node ^= byte;
      if (node >= units_.size() || units_[node].label() != byte) return std::nullopt;
      const Unit unit = units_[node];
      node ^= unit.offset();
      if (unit.has_leaf())
        return node < units_.size() ? replacement(units_[node].value()) : std::nullopt;
    }
    return std::nullopt;
  }

  std::optional<std::string_view> replacement(std::size_t at) const {
    if (at >= replacements_.size() || (static_cast<std::uint8_t>(replacements_[at]) & 0xC0) == 0x80)
      return std::nullopt;
    return std::string_view(replacements_).substr(at, replacements_.find('\0', at) - at);
  }

  std::vector<Unit> units_;
  std::string replacements_;
};

}  // namespace

NormalizerPtr make_precompiled(std::string_view blob, const std::string& source) {
  return std::make_unique<Precompiled>(blob, source);
}

std::optional<std::string> decode_base64(std::string_view text) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  while (text.ends_with('=')) text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string out;
  out.reserve(text.size() / 4 * 3 + 2);
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const std::size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    bits = (bits << 6) | static_cast<std::uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out.push_back(static_cast<char>(static_cast<std::uint8_t>(bits >> count)));
  }
  return out;
}

}  // namespace corda::tokenizer
