// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A regular expression over module names, as PEFT's configuration holds them.
#pragma once

#include <memory>
#include <string>
#include <string_view>

struct pcre2_real_code_8;

namespace corda::adapter {

class NamePattern {
 public:
  // `pattern` in Python's syntax. Throws FormatError "WHERE: the pattern ... " where it is none.
  NamePattern(const std::string& pattern, const std::string& where);
  // Matches NAME and PREFIX.NAME where the pattern matches NAME, as PEFT looks up rank_pattern.
  static NamePattern suffix(const std::string& pattern, const std::string& where);

  // Whether it matches the whole name. Throws FormatError for a pattern that takes forever.
  bool matches(std::string_view name) const;

 private:
  std::shared_ptr<pcre2_real_code_8> code_;
  std::string where_;
};

}  // namespace corda::adapter
