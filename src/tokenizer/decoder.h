// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Tokens back to text.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "pre_tokenizer.h"
#include "regex.h"

namespace corda::tokenizer {

class Decoder {
 public:
  virtual ~Decoder() = default;
  // Rewrites the list of tokens; the text is what they give when joined.
  virtual void decode(std::vector<std::string>& tokens) const = 0;
};

using DecoderPtr = std::unique_ptr<const Decoder>;

DecoderPtr make_byte_level_decoder();
DecoderPtr make_byte_fallback_decoder();
DecoderPtr make_fuse_decoder();
// Takes at most `start` and `stop` copies of `content` from both ends of every token.
DecoderPtr make_strip_decoder(char32_t content, std::int64_t start, std::int64_t stop);
DecoderPtr make_replace_decoder(Regex pattern, std::string content);
DecoderPtr make_metaspace_decoder(char32_t replacement, PrependScheme prepend);
DecoderPtr make_bpe_decoder(std::string suffix);
// Joins tokens by spaces but for those that begin with `prefix`; `cleanup` takes the spaces before
// punctuation away.
DecoderPtr make_word_piece_decoder(std::string prefix, bool cleanup);
// Equal neighbours are one, `pad` is nothing; with `cleanup`, `word_delimiter` is a space.
DecoderPtr make_ctc_decoder(std::string pad, std::string word_delimiter, bool cleanup);
DecoderPtr make_decoder_sequence(std::vector<DecoderPtr> parts);

}  // namespace corda::tokenizer
