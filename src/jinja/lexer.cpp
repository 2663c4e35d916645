// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "jinja/lexer.h"

#include <algorithm>
#include <array>

#include "corda/core/error.h"
#include "jinja/text.h"

namespace corda::jinja {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "\r\n" and "\r" become "\n"; one newline at the end is dropped.
std::string normalise(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalise(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) {
      const auto tag = find_tag();
      if (tag == std::string::npos) {
        add_data(source_.substr(at_));
        break;
      }
      lex_tag(tag);
    }
    add(TokenKind::kEnd, "end of template");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void error(const std::string& reason) const { throw SyntaxFailure{line_, reason}; }

  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  void count_lines(std::string_view text) {
    line_ += static_cast<std::int32_t>(std::count(text.begin(), text.end(), '\n'));
  }

  void add_data(std::string text) {
    if (!text.empty()) add(TokenKind::kData, std::move(text));
  }

  // The next "{{", "{%" or "{#".
  std::size_t find_tag() const {
    for (auto found = source_.find('{', at_); found != std::string::npos;
         found = source_.find('{', found + 1)) {
      if (found + 1 < source_.size() &&
          (source_[found + 1] == '{' || source_[found + 1] == '%' || source_[found + 1] == '#'))
        return found;
    }
    return std::string::npos;
  }

  std::size_t skip_space(std::size_t at) const {
    while (at < source_.size()) {
      std::size_t next = at;
      if (!is_space(next_code_point(source_, next))) break;
      at = next;
    }
    return at;
  }

  // The data before a tag whose sign ('-', '+' or none) is known.
  void add_data_before(std::size_t tag, char sign, bool is_variable) {
    const std::string_view text = std::string_view(source_).substr(at_, tag - at_);
    std::string_view kept = text;
    if (sign == '-') {
      kept = strip(text, false, true);
    } else if (sign != '+' && !is_variable) {
      const auto newline = text.rfind('\n');
      const auto begin = newline == std::string_view::npos ? 0 : newline + 1;
      if ((begin > 0 || line_starting_) && strip(text.substr(begin), true, false).empty())
        kept = text.substr(0, begin);
    }
    add_data(std::string(kept));
    count_lines(text);
  }

  // After an end tag: with '-' the white space goes, with '+' nothing, else one newline of a block.
  void finish_tag(std::size_t end, char sign, bool trims_newline) {
    std::size_t next = end;
    if (sign == '-') {
      next = skip_space(end);
    } else if (sign != '+' && trims_newline && end < source_.size() && source_[end] == '\n') {
      next = end + 1;
    }
    count_lines(std::string_view(source_).substr(end, next - end));
    at_ = next;
    line_starting_ = next > 0 && source_[next - 1] == '\n';
  }

  void lex_tag(std::size_t tag) {
    const char type = source_[tag + 1];
    const char after = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const char sign = after == '-' || after == '+' ? after : '\0';
    const std::size_t inside = tag + 2 + (sign != '\0' ? 1 : 0);
    add_data_before(tag, sign, type == '{');
    if (type == '#') return lex_comment(inside);
    if (type == '%' && lex_raw(inside)) return;
    at_ = inside;
    line_starting_ = false;
    add(type == '{' ? TokenKind::kVariableBegin : TokenKind::kBlockBegin,
        std::string(source_, tag, 2));
    lex_inside(type == '{' ? "}}" : "%}", type == '%');
  }

  void lex_comment(std::size_t inside) {
    const auto found = source_.find("#}", inside);
    if (found == std::string::npos) error("a comment is not closed");
    const char before = found > inside ? source_[found - 1] : '\0';
    count_lines(std::string_view(source_).substr(inside, found - inside));
    finish_tag(found + 2, before, true);
  }

  // `{% raw %} ... {% endraw %}`; false where the tag is another one.
  bool lex_raw(std::size_t inside) {
    std::size_t at = skip_space(inside);
    if (source_.compare(at, 3, "raw") != 0) return false;
    at = skip_space(at + 3);
    const bool trims = at < source_.size() && source_[at] == '-';
    if (trims) ++at;
    if (source_.compare(at, 2, "%}") != 0) return false;
    at = trims ? skip_space(at + 2) : at + 2;
    count_lines(std::string_view(source_).substr(inside, at - inside));
    at_ = at;
    line_starting_ = source_[at_ - 1] == '\n';
    for (auto found = source_.find("{%", at); found != std::string::npos;
         found = source_.find("{%", found + 2)) {
      std::size_t end = found + 2;
      const char sign = end < source_.size() && (source_[end] == '-' || source_[end] == '+')
                            ? source_[end++]
                            : '\0';
      end = skip_space(end);
      if (source_.compare(end, 6, "endraw") != 0) continue;
      end = skip_space(end + 6);
      const char closing = end < source_.size() && (source_[end] == '-' || source_[end] == '+')
                               ? source_[end++]
                               : '\0';
      if (source_.compare(end, 2, "%}") != 0) continue;
      add_data_before(found, sign, false);
      finish_tag(end + 2, closing, true);
      return true;
    }
    error("a raw block is not closed");
  }

  void lex_inside(std::string_view closing, bool trims_newline) {
    std::string brackets;
    while (true) {
      const std::size_t begin = skip_space(at_);
      count_lines(std::string_view(source_).substr(at_, begin - at_));
      at_ = begin;
      if (at_ >= source_.size()) error(core::concat("the tag is not closed by ", closing));
      if (brackets.empty()) {
        const char c = source_[at_];
        const bool has_sign = c == '-' || (c == '+' && trims_newline);
        if (source_.compare(at_ + (has_sign ? 1 : 0), 2, closing) == 0) {
          add(trims_newline ? TokenKind::kBlockEnd : TokenKind::kVariableEnd, std::string(closing));
          return finish_tag(at_ + (has_sign ? 3 : 2), has_sign ? c : '\0', trims_newline);
        }
      }
      lex_token(brackets);
    }
  }

  void lex_token(std::string& brackets) {
    const char c = source_[at_];
    if (is_digit(c)) return lex_number();
    if (c == '\'' || c == '"') return lex_string(c);
    std::size_t end = at_;
    for (std::size_t next = at_; next < source_.size(); end = next) {
      if (!is_word(next_code_point(source_, next))) break;
    }
    if (end > at_) {
      add(TokenKind::kName, source_.substr(at_, end - at_));
      at_ = end;
      return;
    }
    static constexpr std::array<std::string_view, 7> kLong = {
        "==", "!=", "<=", ">=", "//", "**", "<>"};
    static constexpr std::string_view kShort = "+-*/%~[]()|.,:{}<>=;";
    const auto two = std::string_view(source_).substr(at_, 2);
    if (two != "<>" && std::find(kLong.begin(), kLong.end(), two) != kLong.end()) {
      add(TokenKind::kOperator, std::string(two));
      at_ += 2;
      return;
    }
    if (kShort.find(c) == std::string_view::npos)
      error(core::concat("unexpected character ", two.substr(0, 1)));
    balance(c, brackets);
    add(TokenKind::kOperator, std::string(1, c));
    ++at_;
  }

  void balance(char c, std::string& brackets) const {
    if (c == '(' || c == '[' || c == '{') {
      if (brackets.size() > 1000) error("brackets nest too deeply");
      brackets += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (brackets.empty() || brackets.back() != c) error(core::concat("unexpected '", c, "'"));
      brackets.pop_back();
    }
  }

  std::size_t skip_digits(std::size_t at) const {
    while (at < source_.size() &&
           (is_digit(source_[at]) ||
            (source_[at] == '_' && at + 1 < source_.size() && is_digit(source_[at + 1]))))
      ++at;
    return at;
  }

  void lex_number() {
    const auto digit_at = [&](std::size_t i) { return i < source_.size() && is_digit(source_[i]); };
    std::size_t end = skip_digits(at_);
    bool is_float = false;
    if (end < source_.size() && source_[end] == '.' && digit_at(end + 1)) {
      is_float = true;
      end = skip_digits(end + 1);
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      const std::size_t sign =
          end + 1 < source_.size() && (source_[end + 1] == '+' || source_[end + 1] == '-') ? 1 : 0;
      if (digit_at(end + 1 + sign)) {
        is_float = true;
        end = skip_digits(end + 1 + sign);
      }
    }
    std::string digits = source_.substr(at_, end - at_);
    std::erase(digits, '_');
    add(is_float ? TokenKind::kFloat : TokenKind::kInteger, std::move(digits));
    at_ = end;
  }

  void lex_string(char quote) {
    std::string value;
    std::size_t at = at_ + 1;
    for (; at < source_.size() && source_[at] != quote; ++at) {
      if (source_[at] == '\\') {
        at = unescape(at + 1, value);
      } else {
        value += source_[at];
      }
    }
    if (at >= source_.size()) error("a string is not closed");
    add(TokenKind::kString, std::move(value));
    count_lines(std::string_view(source_).substr(at_, at - at_));
    at_ = at + 1;
  }

  // Python's escapes; returns the last byte used.
  std::size_t unescape(std::size_t at, std::string& value) const {
    if (at >= source_.size()) error("a string is not closed");
    const char c = source_[at];
    static constexpr std::string_view kFrom = "abfnrtv\\'\"", kTo = "\a\b\f\n\r\t\v\\'\"";
    if (const auto found = kFrom.find(c); found != std::string_view::npos) {
      value += kTo[found];
      return at;
    }
    if (c == '\n') return at;
    if (c >= '0' && c <= '7') {
      std::int32_t code = 0;
      std::size_t end = at;
      while (end < at + 3 && end < source_.size() && source_[end] >= '0' && source_[end] <= '7')
        code = code * 8 + (source_[end++] - '0');
      append_code_point(value, code);
      return end - 1;
    }
    if (c != 'x' && c != 'u' && c != 'U') {
      if (c == 'N') error("the escape \\N is not supported");
      value += '\\';
      value += c;
      return at;
    }
    const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
    std::int64_t code = 0;
    for (std::size_t i = at + 1; i <= at + digits; ++i) {
      static constexpr std::string_view kHex = "0123456789abcdef";
      const auto digit = i < source_.size() ? kHex.find(static_cast<char>(source_[i] | 0x20))
                                            : std::string_view::npos;
      if (digit == std::string_view::npos)
        error(core::concat("the escape \\", c, " needs ", digits, " hexadecimal digits"));
      code = code * 16 + static_cast<std::int64_t>(digit);
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
      error("an escape names no Unicode character");
    append_code_point(value, static_cast<std::int32_t>(code));
    return at + digits;
  }

  std::string source_;
  std::size_t at_ = 0;
  std::int32_t line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

}  // namespace corda::jinja
