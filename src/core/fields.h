// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Typed members of a JSON object that some file holds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"

namespace corda::core {

// Every call throws FormatError "WHERE: 'key' must be ...; it is ..." for a value of another type
// and "WHERE: the key 'key' is missing" where there is none.
class Fields {
 public:
  // `where` names the object in errors: "'x/manifest.json': site 'y'". Throws where it is no
  // object. The object must outlive this.
  Fields(const Json& object, std::string where);

  const std::string& where() const { return where_; }
  bool has(const char* key) const { return object_.contains(key) && !object_.at(key).is_null(); }
  std::string text(const char* key) const;
  bool boolean(const char* key) const;
  // A number that is finite.
  double number(const char* key) const;
  std::int64_t integer(const char* key, std::int64_t least = INT64_MIN,
                       std::int64_t most = INT64_MAX) const;
  std::vector<std::string> texts(const char* key) const;
  // A list of finite numbers.
  std::vector<double> numbers(const char* key) const;
  const Json& object(const char* key) const;
  [[noreturn]] void fail(const std::string& reason) const;

 private:
  const Json& require(const char* key) const { return require_key(object_, key, where_); }
  [[noreturn]] void wrong(const char* key, const std::string& kind, const Json& value) const;

  const Json& object_;
  std::string where_;
};

}  // namespace corda::core
