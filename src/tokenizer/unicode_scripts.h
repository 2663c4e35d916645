// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Writing systems as the pre-tokenizer UnicodeScripts tells them apart.
#pragma once

namespace corda::tokenizer {

inline constexpr int kNoScript = 0;

// A number for the script of a code point (Hiragana, Katakana and U+30FC count as Han; the space
// and what Unicode 9 does not assign have none), as the Hugging Face tokenizers library has it in
// its table.
int script_class(char32_t c);

}  // namespace corda::tokenizer
