// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/document_cutter.h"

#include <utility>

#include "corda/data/template.h"

namespace corda::data {

DocumentCutter::DocumentCutter(const tokenizer::Tokenizer& tokenizer, std::int64_t max_length,
                               Sink sink)
    : tokenizer_(tokenizer), max_length_(max_length), sink_(std::move(sink)) {
  for (const TokenId id : begin_sample(tokenizer).ids) add(id);
}

void DocumentCutter::add(std::span<const TokenId> ids) {
  for (const TokenId id : ids) add(id);
}

void DocumentCutter::finish() {
  if (tokenizer_.eos_id) add(*tokenizer_.eos_id);
  if (!sample_.ids.empty()) give();
}

void DocumentCutter::add(TokenId id) {
  sample_.ids.push_back(id);
  ++tokens_;
  if (static_cast<std::int64_t>(sample_.ids.size()) == max_length_) give();
}

void DocumentCutter::give() {
  sample_.supervised.assign(sample_.ids.size(), 1);
  sample_.supervised[0] = 0;
  sink_(sample_);
  sample_ = Sample();
}

}  // namespace corda::data
