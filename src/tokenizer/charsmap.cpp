// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "charsmap.h"

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "unicode.h"

namespace corda::tokenizer {

bool Charsmap::Unit::has_leaf() const { return ((bits >> 8) & 1U) == 1; }
std::uint32_t Charsmap::Unit::value() const { return bits & 0x7FFFFFFFU; }
std::uint32_t Charsmap::Unit::label() const { return bits & 0x800000FFU; }
std::uint32_t Charsmap::Unit::offset() const { return (bits >> 10) << ((bits & 0x200U) >> 6); }

Charsmap::Charsmap(std::string_view blob, const std::string& source) {
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

template <typename Visit>
void Charsmap::for_each_entry(std::string_view text, Visit visit) const {
  std::size_t node = units_[0].offset();
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto byte = static_cast<std::uint8_t>(text[at]);
    if (byte == 0) break;
    node ^= byte;
    if (node >= units_.size() || units_[node].label() != byte) break;
    const Unit unit = units_[node];
    node ^= unit.offset();
    if (!unit.has_leaf()) continue;
    if (node >= units_.size()) break;
    if (!visit(at + 1, units_[node].value())) break;
  }
}

std::optional<std::string_view> Charsmap::shortest(std::string_view text) const {
  std::optional<std::string_view> found;
  for_each_entry(text, [&](std::size_t, std::uint32_t value) {
    found = replacement(value);
    return false;
  });
  return found;
}

std::optional<Charsmap::Entry> Charsmap::longest(std::string_view text) const {
  std::optional<Entry> found;
  for_each_entry(text, [&](std::size_t length, std::uint32_t value) {
    if (const auto made = replacement(value)) found = Entry{length, *made};
    return true;
  });
  return found;
}

std::optional<std::string_view> Charsmap::replacement(std::size_t at) const {
  if (at >= replacements_.size() || core::is_utf8_continuation(replacements_[at]))
    return std::nullopt;
  return std::string_view(replacements_).substr(at, replacements_.find('\0', at) - at);
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
