// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which tokens begin before a place in the text.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "corda/tokenizer/tokenizer.h"

namespace corda::tokenizer {

using EncodeFront = std::function<std::vector<TokenId>(std::string_view front)>;

// How many of `ids`, which are those of `text`, begin before byte `place` (0 < place < size).
// `encode_front` gives the ids of the beginning of the text. Throws FormatError where they do not
// tell.
std::int64_t count_before(const Tokenizer& tokenizer, std::string_view text,
                          const std::vector<TokenId>& ids, std::size_t place,
                          const EncodeFront& encode_front);

[[noreturn]] void fail_cut_utf8();

}  // namespace corda::tokenizer
