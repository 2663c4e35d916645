// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What turns one pre-tokenized word into ids.
#pragma once

#include <string_view>
#include <vector>

#include "scratch.h"
#include "vocabulary.h"

namespace corda::tokenizer {

class Model {
 public:
  virtual ~Model() = default;
  // Appends the ids of `word` (valid UTF-8, or raw bytes for a model made so) to `ids`.
  virtual void tokenize(std::string_view word, Scratch& scratch,
                        std::vector<TokenId>& ids) const = 0;
  virtual const Vocabulary& vocabulary() const = 0;
};

}  // namespace corda::tokenizer
