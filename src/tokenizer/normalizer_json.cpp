// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <iterator>
#include <string_view>
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

NormalizerPtr strip_from_json(Fields& fields) {
  const bool left = fields.boolean("strip_left", true);
  return make_strip(left, fields.boolean("strip_right", true));
}

NormalizerPtr sequence_from_json(Fields& fields) {
  std::vector<NormalizerPtr> parts;
  for (const core::Json& part : fields.list("normalizers")) {
    parts.push_back(
        normalizer_from_json(part, core::concat(fields.where(), "[", parts.size(), "]")));
  }
  return make_normalizer_sequence(std::move(parts));
}

template <NormalForm kForm>
NormalizerPtr unicode_from_json(Fields&) {
  return make_unicode_normalizer(kForm);
}

struct Kind {
  std::string_view type;
  bool rewrites;  // the characters that it is given
  NormalizerPtr (*from_json)(Fields&);
};

constexpr Kind kKinds[] = {
    {"NFC", true, unicode_from_json<NormalForm::kNfc>},
    {"NFD", true, unicode_from_json<NormalForm::kNfd>},
    {"NFKC", true, unicode_from_json<NormalForm::kNfkc>},
    {"NFKD", true, unicode_from_json<NormalForm::kNfkd>},
    {"Lowercase", true, [](Fields&) { return make_lowercase(); }},
    {"Strip", true, strip_from_json},
    {"StripAccents", true, [](Fields&) { return make_strip_accents(); }},
    {"ByteLevel", true, [](Fields&) { return make_byte_level_normalizer(); }},
    {"Nmt", true, [](Fields&) { return make_nmt(); }},
    {"BertNormalizer", true, bert_from_json},
    {"Precompiled", true, precompiled_from_json},
    {"Prepend", false, [](Fields& fields) { return make_prepend(fields.text("prepend")); }},
    {"Replace", false, replace_from_json},
    {"Sequence", false, sequence_from_json}};

const Kind* find_kind(std::string_view type) {
  const Kind* found = std::find_if(std::begin(kKinds), std::end(kKinds),
                                   [&](const Kind& kind) { return kind.type == type; });
  return found == std::end(kKinds) ? nullptr : found;
}

}  // namespace

NormalizerPtr normalizer_from_json(const core::Json& json, const std::string& where) {
  Fields fields(json, where);
  const std::string type = fields.text("type");
  const Kind* kind = find_kind(type);
  if (kind == nullptr) fields.fail(core::concat("the normalizer '", type, "' is not implemented"));
  NormalizerPtr made = kind->from_json(fields);
  fields.done();
  return made;
}

bool rewrites_characters(std::string_view type) {
  const Kind* kind = find_kind(type);
  return kind != nullptr && kind->rewrites;
}

}  // namespace corda::tokenizer
