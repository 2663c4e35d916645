// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>

#include "corda/core/error.h"

namespace corda::core {

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  while (true) {
    const std::size_t end = text.find(separator, begin);
    parts.emplace_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

std::string first_line(std::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string result;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) result += separator;
    result += parts[i];
  }
  return result;
}

namespace {

constexpr std::size_t kListedWhole = 10;  // parts that are all listed
constexpr std::size_t kListed = 8;        // of more
constexpr std::size_t kPartBytes = 200;

// The first `bytes` bytes at most, cut between two characters.
std::string_view beginning(std::string_view text, std::size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && is_utf8_continuation(text[bytes])) --bytes;
  return text.substr(0, bytes);
}

std::string shortened(const std::string& part) {
  const std::string_view shown = beginning(part, kPartBytes);
  return shown.size() == part.size() ? part : concat(shown, "...");
}

// What all the names begin with, up to the last dot in it.
std::string_view common_prefix(const std::vector<std::string>& names) {
  std::string_view prefix = names.front();
  for (const std::string& name : names) {
    const auto [differs, ignored] =
        std::mismatch(prefix.begin(), prefix.end(), name.begin(), name.end());
    prefix = prefix.substr(0, static_cast<std::size_t>(differs - prefix.begin()));
  }
  return prefix.substr(0, prefix.rfind('.') + 1);
}

template <typename Show>
std::string join_few(const std::vector<std::string>& parts, std::string_view separator, Show show) {
  const std::size_t count = parts.size() <= kListedWhole ? parts.size() : kListed;
  std::vector<std::string> shown;
  for (std::size_t i = 0; i < count; ++i) shown.push_back(show(parts[i]));
  const std::string text = join(shown, separator);
  return count == parts.size() ? text : concat(text, " and ", parts.size() - count, " more");
}

}  // namespace

std::string listed(const std::vector<std::string>& parts, std::string_view separator) {
  return join_few(parts, separator, shortened);
}

std::string listed_names(const std::vector<std::string>& names) {
  const std::string text = join_few(
      names, ", ", [](const std::string& name) { return concat("'", shortened(name), "'"); });
  if (names.size() <= kListedWhole) return text;
  const std::string prefix(common_prefix(names));
  return prefix.empty() ? text : concat(text, " (all begin with '", shortened(prefix), "')");
}

std::string capped(std::string_view message) {
  const std::string_view shown = beginning(message, kMessageBytes);
  if (shown.size() == message.size()) return std::string(message);
  return concat(shown, "... (", message.size() - shown.size(), " more bytes)");
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

namespace {

template <typename T>
std::optional<T> parse_number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::optional<std::int64_t> parse_int(std::string_view text) {
  return parse_number<std::int64_t>(text);
}

std::optional<double> parse_double(std::string_view text) { return parse_number<double>(text); }

std::string format_double(double value) {
  std::array<char, 64> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  if (error != std::errc{}) throw InternalError("[core::format_double] the buffer is too small");
  return {buffer.data(), end};
}

std::string_view last_part(std::string_view name) { return name.substr(name.rfind('.') + 1); }

std::optional<std::string> closest(std::string_view word,
                                   const std::vector<std::string>& candidates) {
  std::optional<std::string> best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const auto& candidate : candidates) {
    std::size_t distance = edit_distance(word, candidate);
    // "lr" for "optim.lr": the last part of a dotted name counts as a match too.
    if (word.find('.') == std::string_view::npos)
      distance = std::min(distance, edit_distance(word, last_part(candidate)));
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

std::string to_lower_ascii(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

std::string suggestion(std::string_view word, const std::vector<std::string>& candidates) {
  const auto match = closest(word, candidates);
  return match ? concat(" (did you mean '", *match, "'?)") : std::string();
}

}  // namespace corda::core
