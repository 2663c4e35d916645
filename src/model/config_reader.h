// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Reads keys of a config.json: collects every problem, remembers which keys were looked at.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/json.h"

namespace corda::model {

class ConfigReader {
 public:
  // `root` must outlive the reader; `source` names it in errors.
  ConfigReader(const core::Json& root, std::string source)
      : root_(root), source_(std::move(source)) {}

  const std::string& source() const { return source_; }
  void problem(const std::string& text) { problems_.push_back(text); }
  // A member inside an object, by its place ("rope_scaling.finetuned"), that changes nothing.
  void ignore(const std::string& place) { ignored_.push_back(place); }
  const std::vector<std::string>& ignored() const { return ignored_; }
  // Throws FormatError that lists the problems, if there are any.
  void throw_problems() const;

  // Whether the key is there and not null. Counts as looking at it.
  bool present(const char* key);
  // The value of a key that is present, else null. Counts as looking at it.
  const core::Json* value(const char* key);
  bool was_read(const std::string& key) const { return read_.contains(key); }
  const core::Json& root() const { return root_; }

  // A whole number from 1 to 2^31; `fallback` where the key is absent, a problem where that is 0.
  // Never 0, so that sizes can be divided by each other.
  std::int64_t size(const char* key, std::int64_t fallback = 0);
  // The same from 0 on.
  std::int64_t count(const char* key, std::int64_t fallback);
  // A finite number above 0.
  double number(const char* key, double fallback);
  bool flag(const char* key, bool fallback);

  // The same of a member of `object`, which stands at `where` in the file.
  std::int64_t size(const core::Json& object, const std::string& where, const char* key,
                    std::int64_t fallback);
  double number(const core::Json& object, const std::string& where, const char* key,
                double fallback);

 private:
  std::int64_t checked_size(const std::string& name, const core::Json& found);
  double checked_number(const std::string& name, const core::Json& found);

  const core::Json& root_;
  std::string source_;
  std::set<std::string> read_;
  std::vector<std::string> problems_;
  std::vector<std::string> ignored_;
};

}  // namespace corda::model
