// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The components of a tokenizer.json, each made from its JSON object. A `type`, key or value that
// is not implemented is a FormatError that names it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "decoder.h"
#include "normalizer.h"
#include "pre_tokenizer.h"
#include "regex.h"
#include "vocabulary.h"

namespace corda::tokenizer {

NormalizerPtr normalizer_from_json(const core::Json& json, const std::string& where);

// Whether a normalizer of this type writes other characters in place of those it is given (and does
// not only add to them); a ByteLevel pre-tokenizer does what the normalizer of that name does.
bool rewrites_characters(std::string_view type);

// With `keep_bytes`, a byte-level step at the very end leaves the bytes to the model.
PreTokenizerPtr pre_tokenizer_from_json(const core::Json& json, const std::string& where,
                                        bool keep_bytes);

class Fields;

// The `pattern` member: {"String": ...}, matched literally, or {"Regex": ...}.
Regex pattern_from_json(Fields& fields);

// The scheme of a Metaspace step, in the present and the older spelling.
PrependScheme prepend_scheme_from_json(Fields& fields);

// Whether the last step is ByteLevel, so that a model may work on raw bytes.
bool ends_with_byte_level(const core::Json& pre_tokenizer);

DecoderPtr decoder_from_json(const core::Json& json, const std::string& where);

// Throws FormatError where a Replace puts text between characters and a later step rewrites what
// that gave: the reference then writes it twice or fails, so that there are no ids to be equal to.
void check_insertions(const core::Json* normalizer, const core::Json* pre_tokenizer,
                      const std::string& source);

// What the post-processor puts around the text.
struct Surroundings {
  std::vector<TokenId> prefix;
  std::vector<TokenId> suffix;
};
Surroundings post_processor_from_json(const core::Json& json, const std::string& where);

}  // namespace corda::tokenizer
