// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cctype>
#include <cstdio>
#include <vector>

#include "corda/core/error.h"
#include "regex.h"
#include "unicode_late.h"

namespace corda::tokenizer {

namespace {

// Members of the two shorthand classes that Oniguruma and PCRE2 define differently, for use inside
// [...].
constexpr std::string_view kSpace =
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{"
    "205f}\\x{3000}";
constexpr std::string_view kWord =
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}\\x{24b6}-\\x{24e9}\\x{"
    "1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}";
constexpr std::string_view kHex = "0-9A-Fa-f";

bool compiles(const std::string& pattern) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
  pcre2_code_free(code);
  return code != nullptr;
}

class Translator {
 public:
  Translator(std::string_view pattern, bool with_late, const std::string& source)
      : in_(pattern), with_late_(with_late), source_(source) {}

  std::string run() {
    while (at_ < in_.size()) step();
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw core::FormatError(core::concat(source_, ": the regular expression '", in_, "' uses ",
                                         what, ", which is not implemented"));
  }
  // What the library's own tables lack of a general category ("L", "Nd"), as members of a bracket;
  // "" for other names.
  std::string late_members(std::string_view category) const {
    std::string members;
    if (!with_late_ || category.empty() || category.size() > 2) return members;
    for (const LateRange& range : late_ranges()) {
      if (!range.category.starts_with(category)) continue;
      char text[40];
      std::snprintf(text, sizeof text, "\\x{%x}-\\x{%x}", static_cast<unsigned>(range.first),
                    static_cast<unsigned>(range.last));
      members += text;
    }
    return members;
  }
  std::string word_members() const {
    return core::concat(kWord, late_members("L"), late_members("M"), late_members("Nd"));
  }
  std::string digit_members() const { return core::concat("\\p{Nd}", late_members("Nd")); }

  char peek(std::size_t ahead) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }

  void step() {
    const char c = in_[at_];
    if (c == '\\') return escape();
    if (c == '[') return bracket();
    if (c == '(') return open_group();
    if (c == ')') {
      if (!groups_.empty()) {
        atom_ = groups_.back();
        groups_.pop_back();
      }
      out_ += in_[at_++];
      return;
    }
    if (c == '{' && braces()) return;
    if (c != '*' && c != '+' && c != '?') atom_ = out_.size();
    out_ += c;
    ++at_;
  }

  void open_group() {
    groups_.push_back(out_.size());
    if (peek(1) == '?') {
      // (?imx-imx) and (?imx-imx: : Ruby's m is "dot matches newline", PCRE2's s.
      std::size_t end = 2;
      while (std::isalpha(static_cast<unsigned char>(peek(end))) != 0 || peek(end) == '-') ++end;
      if (end > 2 && (peek(end) == ':' || peek(end) == ')')) {
        out_ += "(?";
        for (std::size_t i = 2; i < end; ++i) {
          const char flag = peek(i);
          if (flag != 'i' && flag != 'm' && flag != '-')
            refuse(core::concat("the option '", flag, "'"));
          out_ += flag == 'm' ? 's' : flag;
        }
        at_ += end;
        if (peek(0) == ':') out_ += in_[at_++];
        return;
      }
      if (peek(2) == '~') refuse("the absence operator '(?~'");
    }
    out_ += in_[at_++];
  }

  // Quantifiers in braces. In Ruby syntax {,n} begins at 0 and {n,m}+ repeats instead of being
  // possessive.
  bool braces() {
    std::size_t end = 1;
    while (std::isdigit(static_cast<unsigned char>(peek(end))) != 0 || peek(end) == ',') ++end;
    if (peek(end) != '}' || end == 1 || (end == 2 && peek(1) == ',')) return false;
    std::string quantifier(in_.substr(at_, end + 1));
    if (quantifier[1] == ',') quantifier.insert(1, "0");
    at_ += end + 1;
    out_ += quantifier;
    if (peek(0) == '+' || (peek(0) == '?' && quantifier.find(',') == std::string::npos)) {
      out_.insert(atom_, "(?:");
      out_ += ')';
    }
    return true;
  }

  void escape() {
    atom_ = out_.size();
    if (at_ + 1 >= in_.size()) refuse("a lone backslash at its end");
    const char c = in_[at_ + 1];
    const auto shorthand = [&](std::string_view members, bool negated) {
      out_ += core::concat(negated ? "[^" : "[", members, "]");
      at_ += 2;
    };
    if (c == 's' || c == 'S') return shorthand(kSpace, c == 'S');
    if (c == 'w' || c == 'W') return shorthand(word_members(), c == 'W');
    if (c == 'd' || c == 'D') return shorthand(digit_members(), c == 'D');
    if (c == 'h' || c == 'H') return shorthand(kHex, c == 'H');
    if (c == 'b' || c == 'B') return word_boundary(c == 'B');
    if (c == 'Q' || c == 'E' || c == 'C' || c == 'Y' || c == 'y' || c == 'M')
      refuse(core::concat("'\\", c, "'"));
    common_escape(false);
  }

  void word_boundary(bool negated) {
    const std::string w = core::concat("[", word_members(), "]");
    const std::string boundary =
        core::concat("(?:(?<=", w, ")(?!", w, ")|(?<!", w, ")(?=", w, "))");
    out_ += negated ? core::concat("(?!", boundary, ")") : boundary;
    at_ += 2;
  }

  // Escapes that read alike inside and outside of brackets.
  void common_escape(bool in_bracket) {
    const char c = in_[at_ + 1];
    if (c == 'u') {
      const std::string digits(in_.substr(at_ + 2, 4));
      if (digits.size() != 4) refuse("a malformed \\u escape");
      out_ += core::concat("\\x{", digits, "}");
      at_ += 6;
      return;
    }
    if (c == 'v') {  // vertical tab in Oniguruma, a class in PCRE2
      out_ += "\\x{b}";
      at_ += 2;
      return;
    }
    if (c == 'p' || c == 'P') {
      const std::size_t close = in_.find('}', at_);
      if (peek(2) != '{' || close == std::string_view::npos) refuse("a property without braces");
      property(c == 'P', in_.substr(at_ + 3, close - at_ - 3), in_bracket);
      at_ = close + 1;
      return;
    }
    const std::size_t size = 1 + (static_cast<unsigned char>(c) < 0x80 ? 1 : 0);
    out_ += in_.substr(at_, size);
    at_ += size;
  }

  // A negated property inside a bracket cannot be narrowed and stays as the library has it.
  void property(bool negated, std::string_view name, bool in_bracket) {
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    const std::string start = negated ? "\\P{" : "\\p{";
    const std::string late = late_members(name);
    if (!late.empty() && !in_bracket) {
      out_ += core::concat(negated ? "[^" : "[", "\\p{", name, "}", late, "]");
    } else if (!late.empty() && !negated) {
      out_ += core::concat("\\p{", name, "}", late);
    } else {
      // In PCRE2 a script's bare name also takes characters that several scripts share; in
      // Oniguruma it does not.
      const std::string as_script = core::concat(start, "sc:", name, "}");
      out_ += name.size() > 2 && compiles(as_script) ? as_script : core::concat(start, name, "}");
    }
  }

  void bracket() {
    atom_ = out_.size();
    out_ += in_[at_++];
    if (peek(0) == '^') out_ += in_[at_++];
    if (peek(0) == ']') {
      out_ += "\\]";
      ++at_;
    }
    while (peek(0) != ']') {
      if (at_ >= in_.size()) refuse("a bracket that is never closed");
      if (peek(0) == '[') {
        if (peek(1) == ':') refuse("a POSIX class such as [:alpha:]");
        refuse("a set inside a set (escape the inner '[' if it is meant literally)");
      }
      if (peek(0) == '&' && peek(1) == '&') refuse("the set intersection '&&'");
      if (peek(0) == '\\') {
        bracket_escape();
      } else {
        out_ += in_[at_++];
      }
    }
    out_ += in_[at_++];
  }

  void bracket_escape() {
    const char c = peek(1);
    if (c == 's' || c == 'w' || c == 'h' || c == 'd') {
      out_ += c == 's'   ? std::string(kSpace)
              : c == 'w' ? word_members()
              : c == 'd' ? digit_members()
                         : std::string(kHex);
      at_ += 2;
    } else if (c == 'S') {
      // The complement of White_Space as ranges: a negated class cannot stand inside a class.
      out_ +=
          "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{"
          "1fff}\\x{200b}-\\x{2027}"
          "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{d7ff}\\x{e000}-"
          "\\x{10ffff}";
      at_ += 2;
    } else if (c == 'W' || c == 'H') {
      refuse(core::concat("'\\", c, "' inside brackets"));
    } else {
      common_escape(true);
    }
  }

  std::string_view in_;
  bool with_late_;
  const std::string& source_;
  std::size_t at_ = 0;
  std::string out_;
  std::size_t atom_ = 0;             // where in out_ the last atom begins
  std::vector<std::size_t> groups_;  // where the open groups begin
};

}  // namespace

std::string translate_oniguruma(std::string_view pattern, bool with_late,
                                const std::string& source) {
  return Translator(pattern, with_late, source).run();
}

}  // namespace corda::tokenizer
