// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/error.h"
#include "corda/core/parallel.h"
#include "corda/tokenizer/tokenizer.h"

namespace corda::tokenizer {

namespace {

// Texts are taken in small runs, so that a few long ones do not leave threads idle.
constexpr std::int64_t kRun = 16;

}  // namespace

std::vector<std::vector<TokenId>> encode_batch(const Tokenizer& tokenizer,
                                               std::span<const std::string> texts,
                                               std::int64_t threads, EncodeOptions options) {
  if (threads < 1)
    throw core::ConfigError(core::concat("expected at least 1 thread; received ", threads));
  std::vector<std::vector<TokenId>> ids(texts.size());
  core::parallel_for(static_cast<std::int64_t>(texts.size()), threads, kRun, [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    ids[at] = tokenizer.encode(texts[at], options);
  });
  return ids;
}

}  // namespace corda::tokenizer
