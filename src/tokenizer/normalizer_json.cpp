// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <utility>

#include "charsmap.h"
#include "components_json.h"
#include "fields.h"

namespace corda::tokenizer {

namespace {

NormalizerPtr replace_from_json(Fields& fields) {
  const core::Json* pattern = fields.find("pattern");
  if (pattern == nullptr) fields.fail("the key 'pattern' is missing");
  Fields kind(*pattern, fields.where() + ": pattern");
  const std::string content = fields.text("content");
  NormalizerPtr made;
  if (kind.find("String") != nullptr) {
    const std::string text = kind.text("String");
    if (text.empty()) kind.fail("replacing an empty text is not implemented");
    made = make_replace_text(text, content);
  } else {
    made = make_replace(Regex(kind.text("Regex"), kind.where()), content);
  }
  kind.done();
  return made;
}

NormalizerPtr bert_from_json(Fields& fields) {
  BertOptions options;
  options.clean_text = fields.boolean("clean_text", true);
  options.handle_chinese_chars = fields.boolean("handle_chinese_chars", true);
  options.lowercase = fields.boolean("lowercase", true);
  options.strip_accents =
      fields.boolean("strip_accents", options.lowercase);  // null means: as lowercase
  return make_bert(options);
}

NormalizerPtr precompiled_from_json(Fields& fields) {
  const std::optional<std::string> blob = decode_base64(fields.text("precompiled_charsmap"));
  if (!blob) fields.fail("'precompiled_charsmap' is not base64");
  return make_precompiled(*blob, fields.where());
}

NormalizerPtr make(const std::string& type, Fields& fields) {
  if (type == "NFC") return make_unicode_normalizer(NormalForm::kNfc);
  if (type == "NFD") return make_unicode_normalizer(NormalForm::kNfd);
  if (type == "NFKC") return make_unicode_normalizer(NormalForm::kNfkc);
  if (type == "NFKD") return make_unicode_normalizer(NormalForm::kNfkd);
  if (type == "Lowercase") return make_lowercase();
  if (type == "StripAccents") return make_strip_accents();
  if (type == "ByteLevel") return make_byte_level_normalizer();
  if (type == "Prepend") return make_prepend(fields.text("prepend"));
  if (type == "Replace") return replace_from_json(fields);
  if (type == "Nmt") return make_nmt();
  if (type == "BertNormalizer") return bert_from_json(fields);
  if (type == "Precompiled") return precompiled_from_json(fields);
  if (type == "Strip") {
    const bool left = fields.boolean("strip_left", true);
    return make_strip(left, fields.boolean("strip_right", true));
  }
  if (type == "Sequence") {
    std::vector<NormalizerPtr> parts;
    for (const core::Json& part : fields.list("normalizers")) {
      parts.push_back(
          normalizer_from_json(part, core::concat(fields.where(), "[", parts.size(), "]")));
    }
    return make_normalizer_sequence(std::move(parts));
  }
  fields.fail(core::concat("the normalizer '", type, "' is not implemented"));
}

}  // namespace

NormalizerPtr normalizer_from_json(const core::Json& json, const std::string& where) {
  Fields fields(json, where);
  NormalizerPtr made = make(fields.text("type"), fields);
  fields.done();
  return made;
}

}  // namespace corda::tokenizer
