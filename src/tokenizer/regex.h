// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Regular expressions of tokenizer files: written for Oniguruma, matched by PCRE2.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "corda/core/text.h"

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
  // Throws FormatError with `source` for a pattern that is malformed or means something else in
  // PCRE2.
  Regex(std::string_view pattern, const std::string& source);
  // A pattern that matches exactly `text`.
  static Regex literal(std::string_view text, const std::string& source);

  // The first match at or behind `from`. `text` is valid UTF-8.
  std::optional<Match> find(std::string_view text, std::size_t from, RegexScratch& scratch) const {
    return match(*code_for(text), text, from, scratch);
  }

  // Whether some text has an empty match.
  bool may_match_empty() const;

  // Calls `visit(begin, end, is_match)` for each match and each gap between matches, in order. An
  // empty match right behind another match is passed over.
  template <typename Visit>
  void for_each_part(std::string_view text, RegexScratch& scratch, Visit visit) const;

 private:
  using Code = pcre2_real_code_8;

  // Classes with long lists of code points match slowly: only a text that needs them meets them.
  const Code* code_for(std::string_view text) const {
    return has_late(text) ? late_code_.get() : code_.get();
  }
  static bool has_late(std::string_view text);
  static std::shared_ptr<Code> compile(std::string_view pattern, bool with_late,
                                       const std::string& source);
  static std::optional<Match> match(const Code& code, std::string_view text, std::size_t from,
                                    RegexScratch& scratch);

  std::shared_ptr<Code> code_;       // by the library's own tables
  std::shared_ptr<Code> late_code_;  // with the code points of late_ranges()
};

template <typename Visit>
void Regex::for_each_part(std::string_view text, RegexScratch& scratch, Visit visit) const {
  std::size_t done = 0;
  std::size_t from = 0;
  std::optional<std::size_t> last_end;
  const Code& code = *code_for(text);
  while (from <= text.size()) {
    const std::optional<Match> found = match(code, text, from, scratch);
    if (!found) break;
    if (found->begin == found->end && last_end == found->end) {
      ++from;
      while (from < text.size() && core::is_utf8_continuation(text[from])) ++from;
      continue;
    }
    if (done != found->begin) visit(done, found->begin, false);
    visit(found->begin, found->end, true);
    done = from = found->end;
    last_end = found->end;
  }
  if (done != text.size()) visit(done, text.size(), false);
}

// The pattern as PCRE2 must read it to match what Oniguruma (Ruby syntax, UTF-8) matches;
// `with_late` lists the code points that late_ranges() adds to each class.
std::string translate_oniguruma(std::string_view pattern, bool with_late,
                                const std::string& source);

}  // namespace corda::tokenizer
