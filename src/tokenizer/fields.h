// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Reads one component's JSON object: every key must be known, every value of the right type.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "corda/core/error.h"
#include "core/json.h"

namespace corda::tokenizer {

class Fields {
 public:
  // `where` names the object in errors: "tokenizer.json: normalizer".
  Fields(const core::Json& object, std::string where);

  const std::string& where() const { return where_; }
  const core::Json& object() const { return object_; }

  // The member, or null where it is absent.
  const core::Json* find(const char* key);
  bool boolean(const char* key, bool fallback);
  std::int64_t integer(const char* key);
  std::int64_t integer(const char* key, std::int64_t fallback);
  std::string text(const char* key);
  std::string text(const char* key, const char* fallback);
  const core::Json& list(const char* key);
  // Exactly one code point.
  char32_t character(const char* key);

  // Throws FormatError naming a key that none of the calls above asked for.
  void done() const;
  [[noreturn]] void fail(const std::string& reason) const;

 private:
  const core::Json& require(const char* key);

  const core::Json& object_;
  std::string where_;
  std::set<std::string, std::less<>> seen_;
};

}  // namespace corda::tokenizer
