// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What the SentencePiece library does to a text before it looks for pieces.
#pragma once

#include "pre_tokenizer.h"
#include "sentencepiece_spec.h"

namespace corda::tokenizer {

// Rewrites every stretch of text as `spec` says, its charsmap and its white space; whether it gets
// a space in front (behind it, with whitespace_as_suffix) is for `dummy` to say alone. Throws
// FormatError with `source` for a damaged charsmap.
PreTokenizerPtr make_sentencepiece_normalizer(const SentencePieceSpec& spec, PrependScheme dummy,
                                              const std::string& source);

}  // namespace corda::tokenizer
