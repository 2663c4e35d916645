// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Regular expressions of tokenizer files: written for Oniguruma, matched by PCRE2.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct pcre2_real_code_8;

namespace corda::tokenizer {

// What one thread needs to match; reused between calls.
class RegexScratch {
 public:
  RegexScratch();
  RegexScratch(const RegexScratch&) = delete;
  RegexScratch& operator=(const RegexScratch&) = delete;
  ~RegexScratch();

 private:
  friend class Regex;
  struct State;
  std::unique_ptr<State> state_;
};

struct Match {
  std::size_t begin = 0;
  std::size_t end = 0;
};

// A compiled pattern; immutable.
class Regex {
 public:
  // Throws FormatError with `source` for a pattern that is malformed or means something else in PCRE2.
  Regex(std::string_view pattern, const std::string& source);
  // A pattern that matches exactly `text`.
  static Regex literal(std::string_view text, const std::string& source);

  // The first match at or behind `from`. `text` is valid UTF-8.
  std::optional<Match> find(std::string_view text, std::size_t from, RegexScratch& scratch) const;

  // Calls `visit(begin, end, is_match)` for each match and each gap between matches, in order. An empty match right
  // behind another match is passed over.
  template <typename Visit>
  void for_each_part(std::string_view text, RegexScratch& scratch, Visit visit) const;

 private:
  std::shared_ptr<pcre2_real_code_8> code_;
};

template <typename Visit>
void Regex::for_each_part(std::string_view text, RegexScratch& scratch, Visit visit) const {
  std::size_t done = 0;
  std::size_t from = 0;
  std::optional<std::size_t> last_end;
  while (from <= text.size()) {
    const std::optional<Match> match = find(text, from, scratch);
    if (!match) break;
    if (match->begin == match->end && last_end == match->end) {
      ++from;
      while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) ++from;
      continue;
    }
    if (done != match->begin) visit(done, match->begin, false);
    visit(match->begin, match->end, true);
    done = from = match->end;
    last_end = match->end;
  }
  if (done != text.size()) visit(done, text.size(), false);
}

// The pattern as PCRE2 must read it to match what Oniguruma (Ruby syntax, UTF-8) matches.
std::string translate_oniguruma(std::string_view pattern, const std::string& source);

}  // namespace corda::tokenizer
