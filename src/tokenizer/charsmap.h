// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// SentencePiece's precompiled normalization: a double-array trie from byte sequences to
// replacements.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "normalizer.h"

namespace corda::tokenizer {

// `blob` is the size of the trie in bytes (32 bits, little-endian), its units (32 bits each) and
// the replacements, each ended by a zero byte. Throws FormatError with `source` where these do not
// fit together.
NormalizerPtr make_precompiled(std::string_view blob, const std::string& source);

// The bytes of a base64 text, padded or not; nullopt where it is none.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace corda::tokenizer
