// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "adapter/name_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "corda/core/error.h"

namespace corda::adapter {

using core::concat;
using core::FormatError;

namespace {

constexpr std::size_t kMaxPattern = 10'000;  // bytes
constexpr std::uint32_t kMaxSteps = 100'000;

PCRE2_SPTR bytes_of(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

}  // namespace

NamePattern::NamePattern(const std::string& pattern, const std::string& where) : where_(where) {
  if (pattern.size() > kMaxPattern)
    throw FormatError(concat(where, ": a pattern of ", pattern.size(), " bytes is too long"));
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_.reset(
      pcre2_compile(bytes_of(pattern), pattern.size(),
                    PCRE2_UTF | PCRE2_ANCHORED | PCRE2_ENDANCHORED, &error, &offset, nullptr),
      pcre2_code_free);
  if (code_) return;
  unsigned char reason[256] = {};
  pcre2_get_error_message(error, reason, sizeof reason);
  throw FormatError(concat(where, ": the pattern '", pattern,
                           "' is no regular expression: ", reinterpret_cast<const char*>(reason)));
}

NamePattern NamePattern::suffix(const std::string& pattern, const std::string& where) {
  return {concat("(.*\\.)?(", pattern, ")"), where};
}

bool NamePattern::matches(std::string_view name) const {
  const std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> found(
      pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
  const std::unique_ptr<pcre2_match_context, void (*)(pcre2_match_context*)> limits(
      pcre2_match_context_create(nullptr), pcre2_match_context_free);
  if (!found || !limits) throw core::ResourceError("no memory to match a pattern of module names");
  pcre2_set_match_limit(limits.get(), kMaxSteps);
  const int result =
      pcre2_match(code_.get(), bytes_of(name), name.size(), 0, 0, found.get(), limits.get());
  if (result >= 0) return true;
  if (result == PCRE2_ERROR_NOMATCH) return false;
  unsigned char reason[256] = {};
  pcre2_get_error_message(result, reason, sizeof reason);
  throw FormatError(concat(where_, ": a pattern cannot be matched with '", name,
                           "': ", reinterpret_cast<const char*>(reason)));
}

}  // namespace corda::adapter
