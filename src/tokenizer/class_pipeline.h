// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What transformers 5's tokenizer classes put in place of a tokenizer.json's own steps.
#pragma once

#include <string>

#include "core/json.h"

namespace corda::tokenizer {

// How Qwen2's class cuts words.
inline constexpr const char* kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Some classes build normalizer and pre-tokenizer anew from the class alone; here those of the file
// `source` stay. A sentence that says so where the two differ, else "". The steps may be null.
// `tokenizer_class` as SideFiles gives it, `prefix_space` its add_prefix_space.
std::string note_of_class(const std::string& tokenizer_class, bool prefix_space,
                          const core::Json* normalizer, const core::Json* pre_tokenizer,
                          const std::string& source);

}  // namespace corda::tokenizer
