// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Splits a template into data and the tokens of its tags, with white space control applied.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace corda::jinja {

enum class TokenKind : std::uint8_t {
  kData,
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;  // data, name, content of a string, digits, operator
  std::int32_t line = 1;
};

// An error of syntax with its line.
struct SyntaxFailure {
  std::int32_t line;
  std::string reason;
};

// trim_blocks and lstrip_blocks are on. Throws SyntaxFailure.
std::vector<Token> tokenize(std::string_view source);

}  // namespace corda::jinja
