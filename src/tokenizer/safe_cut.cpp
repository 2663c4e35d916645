// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "safe_cut.h"

namespace corda::tokenizer {

std::string find_safe_cut(const Vocabulary& vocabulary) {
  constexpr std::string_view kMetaspace = "\xE2\x96\x81";  // U+2581
  if (!vocabulary.find(kMetaspace)) return {};
  for (TokenId id = 0; id < vocabulary.end(); ++id) {
    const std::string_view token = vocabulary.token(id).value_or("");
    for (std::size_t at = token.find(kMetaspace, 1); at != std::string_view::npos;
         at = token.find(kMetaspace, at + 1)) {
      if (at < kMetaspace.size() ||
          token.substr(at - kMetaspace.size(), kMetaspace.size()) != kMetaspace)
        return {};
    }
  }
  return std::string(kMetaspace);
}

}  // namespace corda::tokenizer
