// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <utility>

#include "components_json.h"
#include "fields.h"

namespace corda::tokenizer {

namespace {

DecoderPtr replace_from_json(Fields& fields) {
  Regex regex = pattern_from_json(fields);
  return make_replace_decoder(std::move(regex), fields.text("content"));
}

DecoderPtr make(const std::string& type, Fields& fields) {
  if (type == "ByteLevel") {
    // These describe the pre-tokenizer of the same name; decoding does not look at them.
    for (const char* key : {"add_prefix_space", "trim_offsets", "use_regex"})
      fields.boolean(key, true);
    return make_byte_level_decoder();
  }
  if (type == "ByteFallback") return make_byte_fallback_decoder();
  if (type == "Fuse") return make_fuse_decoder();
  if (type == "Replace") return replace_from_json(fields);
  if (type == "Strip") {
    const char32_t content = fields.character("content");
    const std::int64_t start = fields.integer("start");
    return make_strip_decoder(content, start, fields.integer("stop"));
  }
  if (type == "Metaspace") {
    const char32_t replacement = fields.character("replacement");
    fields.boolean("split", true);
    return make_metaspace_decoder(replacement, prepend_scheme_from_json(fields));
  }
  if (type == "BPEDecoder") return make_bpe_decoder(fields.text("suffix", "</w>"));
  if (type == "WordPiece") {
    std::string prefix = fields.text("prefix", "##");
    return make_word_piece_decoder(std::move(prefix), fields.boolean("cleanup", true));
  }
  if (type == "CTC") {
    std::string pad = fields.text("pad_token", "<pad>");
    std::string delimiter = fields.text("word_delimiter_token", "|");
    return make_ctc_decoder(std::move(pad), std::move(delimiter), fields.boolean("cleanup", true));
  }
  if (type == "Sequence") {
    std::vector<DecoderPtr> parts;
    for (const core::Json& part : fields.list("decoders")) {
      parts.push_back(
          decoder_from_json(part, core::concat(fields.where(), "[", parts.size(), "]")));
    }
    return make_decoder_sequence(std::move(parts));
  }
  fields.fail(core::concat("the decoder '", type, "' is not implemented"));
}

}  // namespace

DecoderPtr decoder_from_json(const core::Json& json, const std::string& where) {
  Fields fields(json, where);
  DecoderPtr made = make(fields.text("type"), fields);
  fields.done();
  return made;
}

}  // namespace corda::tokenizer
