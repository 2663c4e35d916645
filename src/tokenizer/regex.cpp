// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "corda/core/error.h"
#include "unicode.h"
#include "unicode_late.h"

namespace corda::tokenizer {

namespace {

constexpr std::size_t kJitStackStart = 64 * 1024;
constexpr std::size_t kJitStackLimit = 256 * 1024 * 1024;

std::string message_of(int code) {
  unsigned char buffer[256] = {};
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct RegexScratch::State {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(kJitStackStart, kJitStackLimit, nullptr);

  State() {
    if (data == nullptr || context == nullptr || stack == nullptr) {
      throw core::ResourceError("no memory for a regular expression's stack");
    }
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
};

RegexScratch::RegexScratch() : state_(std::make_unique<State>()) {}
RegexScratch::~RegexScratch() = default;

Regex::Regex(std::string_view pattern, const std::string& source)
    : code_(compile(pattern, false, source)), late_code_(code_) {
  if (translate_oniguruma(pattern, false, source) != translate_oniguruma(pattern, true, source))
    late_code_ = compile(pattern, true, source);
}

bool Regex::has_late(std::string_view text) {
  constexpr std::uint8_t kFirstLead = 0xE0;  // of U+0800: the late code points begin behind it
  std::uint8_t largest = 0;
  for (const char c : text) largest = std::max(largest, static_cast<std::uint8_t>(c));
  if (largest < kFirstLead) return false;
  for (std::size_t at = 0; at < text.size();) {
    if (static_cast<std::uint8_t>(text[at]) < kFirstLead) {
      ++at;
    } else if (!late_category(next_code_point(text, at)).empty()) {
      return true;
    }
  }
  return false;
}

std::shared_ptr<Regex::Code> Regex::compile(std::string_view pattern, bool with_late,
                                            const std::string& source) {
  const std::string translated = translate_oniguruma(pattern, with_late, source);
  int error = 0;
  PCRE2_SIZE offset = 0;
  // Oniguruma's ^ and $ are those of Ruby: at every line.
  pcre2_code* code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (code == nullptr) {
    throw core::FormatError(core::concat(source, ": the regular expression '", pattern,
                                         "' is not understood: ", message_of(error), " (at '",
                                         translated.substr(offset, 20), "')"));
  }
  std::shared_ptr<Code> made(code, [](pcre2_code* p) { pcre2_code_free(p); });
  pcre2_jit_compile(code,
                    PCRE2_JIT_COMPLETE);  // where there is no JIT the interpreter matches the same
  return made;
}

Regex Regex::literal(std::string_view text, const std::string& source) {
  std::string escaped;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x80 &&
        std::string_view("\\^$.|?*+()[]{}-&~#").find(c) != std::string_view::npos)
      escaped += '\\';
    escaped += c;
  }
  return Regex(escaped, source);
}

bool Regex::may_match_empty() const {
  std::uint32_t may = 1;
  pcre2_pattern_info(code_.get(), PCRE2_INFO_MATCHEMPTY, &may);
  return may != 0;
}

std::optional<Match> Regex::match(const Code& code, std::string_view text, std::size_t from,
                                  RegexScratch& scratch) {
  RegexScratch::State& state = *scratch.state_;
  const char* data = text.data() == nullptr ? "" : text.data();
  const int result = pcre2_match(&code, reinterpret_cast<PCRE2_SPTR>(data), text.size(), from,
                                 PCRE2_NO_UTF_CHECK, state.data, state.context);
  if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (result < 0) {
    throw core::ResourceError(core::concat("matching a tokenizer's pattern stopped on a text of ",
                                           text.size(), " bytes: ", message_of(result),
                                           "; cut the text into smaller parts"));
  }
  const PCRE2_SIZE* span = pcre2_get_ovector_pointer(state.data);
  return Match{span[0], span[1]};
}

}  // namespace corda::tokenizer
