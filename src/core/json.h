// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Strict JSON: duplicate keys and trailing text are errors, and errors name file, line and column.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "corda/core/file.h"

namespace corda::core {

using Json = nlohmann::ordered_json;

// Parses `text`. Throws FormatError "SOURCE:LINE:COLUMN: reason"; `first_line` is the number of the
// first line of `text` in its file (JSONL). Nesting deeper than 512 is refused.
Json parse_json(std::string_view text, const std::string& source, std::int64_t first_line = 1);

// Reads and parses a file.
Json read_json(const fs::path& path);

// Writes a file atomically, indented by two; bytes that are not UTF-8 become U+FFFD. Throws
// NumericalError, which names the file and the key, for a NaN or an infinity.
void write_json(const fs::path& path, const Json& value);

// The text of `value` on one line, for output that must not fail: bytes that are not UTF-8 become
// U+FFFD, and a NaN or an infinity, which JSON has no word for, null.
std::string json_line(const Json& value);

// A member of `object` that must exist; FormatError names `source` and the key.
const Json& require_key(const Json& object, const char* key, const std::string& source);

}  // namespace corda::core
