// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <cctype>
#include <utility>
#include <vector>

#include "corda/core/error.h"
#include "regex.h"
#include "regex_property.h"
#include "unicode.h"

namespace corda::tokenizer {

namespace {

// Members of the two shorthand classes that Oniguruma and PCRE2 define differently, for use inside
// [...].
constexpr std::string_view kSpace =
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{"
    "205f}\\x{3000}";
constexpr std::string_view kWord =
    "\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{"
    "1f189}";
// Superscript digits and fractions of Latin-1 are word characters to Oniguruma, but not in
// brackets.
constexpr std::string_view kWordOutside = "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}";
constexpr std::string_view kHex = "0-9A-Fa-f";

// A set of characters: members of one [...], and expressions that match one character each.
class Set {
 public:
  // `expression` matches one character and is one atom.
  static Set of(const std::string& expression) {
    Set set;
    set.add_alternative(expression);
    return set;
  }
  void add_members(std::string_view members) { members_ += members; }
  void add(const Set& other) {
    // Beside a '-' two lists of members could read as a range.
    const bool plain = !members_.ends_with('-') && !other.members_.ends_with('-') &&
                       !other.members_.starts_with('-') && !other.members_.starts_with('^');
    if (plain) {
      members_ += other.members_;
    } else if (!other.members_.empty()) {
      add_alternative(core::concat("[", other.members_, "]"));
    }
    if (other.count_ > 0) add_alternative(other.alternatives_);
  }
  Set complement() const {
    if (count_ > 0) return of(core::concat("(?:(?!", expression(), ")(?s:.))"));
    if (is_property()) return of("\\P" + members_.substr(2));
    return of(members_.empty() ? "(?s:.)" : core::concat("[^", members_, "]"));
  }
  // Matches one character of the set, and is one atom.
  std::string expression() const {
    const std::string bracket = is_property() ? members_ : core::concat("[", members_, "]");
    if (count_ == 0) return members_.empty() ? "(?!)" : bracket;
    if (members_.empty())
      return count_ == 1 ? alternatives_ : core::concat("(?:", alternatives_, ")");
    return core::concat("(?:", bracket, "|", alternatives_, ")");
  }

 private:
  // One \p{...} needs no bracket, and matches faster without.
  bool is_property() const {
    return members_.starts_with("\\p{") && members_.find('}') == members_.size() - 1;
  }
  void add_alternative(const std::string& expression) {
    if (count_++ > 0) alternatives_ += '|';
    alternatives_ += expression;
  }

  std::string members_;
  std::string alternatives_;  // joined by |
  int count_ = 0;             // of them
};

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
  std::string members_of(std::string_view name) const {
    return property_members(name, with_late_)->members;
  }
  // \w: letters, marks, decimal digits and what else is alphabetic.
  std::string word_members() const {
    return core::concat(members_of("L"), members_of("M"), members_of("Nd"), kWord);
  }
  std::string digit_members() const { return members_of("Nd"); }

  char peek(std::size_t ahead) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }

  void step() {
    const char c = in_[at_];
    if (c == '\\') return escape();
    if (c == '[') {
      atom_ = out_.size();
      out_ += bracket().expression();
      return;
    }
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
    if (c == 'w' || c == 'W')
      return shorthand(word_members() + std::string(kWordOutside), c == 'W');
    if (c == 'd' || c == 'D') return shorthand(digit_members(), c == 'D');
    if (c == 'h' || c == 'H') return shorthand(kHex, c == 'H');
    if (c == 'b' || c == 'B') return word_boundary(c == 'B');
    if (c == 'Q' || c == 'E' || c == 'C' || c == 'Y' || c == 'y' || c == 'M')
      refuse(core::concat("'\\", c, "'"));
    out_ += c == 'p' || c == 'P' ? property().expression() : common_escape();
  }

  void word_boundary(bool negated) {
    const std::string w = core::concat("[", word_members(), kWordOutside, "]");
    const std::string boundary =
        core::concat("(?:(?<=", w, ")(?!", w, ")|(?<!", w, ")(?=", w, "))");
    out_ += negated ? core::concat("(?!", boundary, ")") : boundary;
    at_ += 2;
  }

  // Escapes that read alike inside and outside of brackets.
  std::string common_escape() {
    const char c = in_[at_ + 1];
    if (c == 'u') {
      const std::string digits(in_.substr(at_ + 2, 4));
      if (digits.size() != 4) refuse("a malformed \\u escape");
      at_ += 6;
      return core::concat("\\x{", digits, "}");
    }
    if (c == 'v') {  // vertical tab in Oniguruma, a class in PCRE2
      at_ += 2;
      return "\\x{b}";
    }
    const std::size_t size = 1 + (static_cast<unsigned char>(c) < 0x80 ? 1 : 0);
    const std::size_t begin = std::exchange(at_, at_ + size);
    return std::string(in_.substr(begin, size));
  }

  // \p{Name}, \P{Name}, \p{^Name}.
  Set property() {
    bool negated = peek(1) == 'P';
    const std::size_t close = in_.find('}', at_);
    if (peek(2) != '{' || close == std::string_view::npos) refuse("a property without braces");
    std::string_view name = in_.substr(at_ + 3, close - at_ - 3);
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    const auto found = property_members(name, with_late_);
    if (!found) refuse(core::concat("the property '", name, "'"));
    at_ = close + 1;
    Set set;
    set.add_members(found->members);
    if (!found->except.empty())
      set = Set::of(core::concat("(?:(?![", found->except, "])", set.expression(), ")"));
    return negated ? set.complement() : set;
  }

  // Reads from '[' to its ']'. Sets may stand in sets, and `&&` intersects what is on its sides.
  Set bracket() {
    if (++depth_ > kDeepest) refuse("sets in sets more than 50 deep");
    ++at_;
    const bool negated = peek(0) == '^';
    if (negated) ++at_;
    Set current;
    if (peek(0) == ']') {
      current.add_members("\\]");
      ++at_;
    }
    std::string required;  // what the operands before this one ask for
    while (peek(0) != ']') {
      if (at_ >= in_.size()) refuse("a bracket that is never closed");
      if (peek(0) == '[' && peek(1) == ':') refuse("a POSIX class such as [:alpha:]");
      if (peek(0) == '[') {
        current.add(bracket());
      } else if (peek(0) == '&' && peek(1) == '&') {
        required += core::concat("(?=", current.expression(), ")");
        current = Set();
        at_ += 2;
      } else if (peek(0) == '\\' && is_class_escape(peek(1))) {
        current.add(bracket_class());
      } else if (peek(0) == '\\') {
        current.add_members(common_escape());
      } else {
        if (peek(0) == '^') current.add_members("\\");
        const std::size_t size = utf8_length(in_[at_]);
        current.add_members(in_.substr(at_, size));
        at_ += size;
      }
    }
    ++at_;
    --depth_;
    if (!required.empty())
      current = Set::of(core::concat("(?:", required, current.expression(), ")"));
    return negated ? current.complement() : current;
  }

  static bool is_class_escape(char c) {
    return std::string_view("pPsSwWdDhH").find(c) != std::string_view::npos;
  }

  // Reads an escape that stands for several characters.
  Set bracket_class() {
    const char c = peek(1);
    if (c == 'p' || c == 'P') return property();
    Set set;
    switch (std::tolower(static_cast<unsigned char>(c))) {
      case 's':
        set.add_members(kSpace);
        break;
      case 'w':
        set.add_members(word_members());
        break;
      case 'd':
        set.add_members(digit_members());
        break;
      default:
        set.add_members(kHex);
    }
    at_ += 2;
    return c >= 'a' ? set : set.complement();
  }

  static constexpr int kDeepest = 50;

  std::string_view in_;
  bool with_late_;
  const std::string& source_;
  std::size_t at_ = 0;
  int depth_ = 0;  // of sets
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
