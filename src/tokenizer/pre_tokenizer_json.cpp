// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <utility>

#include "components_json.h"
#include "fields.h"

namespace corda::tokenizer {

namespace {

SplitBehavior behavior_from_json(Fields& fields, const char* fallback) {
  const std::string name =
      fallback == nullptr ? fields.text("behavior") : fields.text("behavior", fallback);
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  fields.fail(core::concat("the behavior '", name, "' is not implemented"));
}

PreTokenizerPtr split_from_json(Fields& fields) {
  Regex regex = pattern_from_json(fields);
  const SplitBehavior behavior = behavior_from_json(fields, nullptr);
  return make_split(std::move(regex), behavior, fields.boolean("invert", false));
}

PreTokenizerPtr byte_level_from_json(Fields& fields, bool keep_bytes) {
  ByteLevelOptions options;
  options.add_prefix_space = fields.boolean("add_prefix_space", true);
  options.use_regex = fields.boolean("use_regex", true);
  options.keep_bytes = keep_bytes;
  fields.boolean("trim_offsets", true);  // concerns offsets only
  return make_byte_level(options);
}

PreTokenizerPtr sequence_from_json(Fields& fields, bool keep_bytes) {
  std::vector<PreTokenizerPtr> parts;
  const core::Json& list = fields.list("pretokenizers");
  for (const core::Json& part : list) {
    const bool last = parts.size() + 1 == list.size();
    parts.push_back(pre_tokenizer_from_json(
        part, core::concat(fields.where(), "[", parts.size(), "]"), keep_bytes && last));
  }
  return make_pre_tokenizer_sequence(std::move(parts));
}

PreTokenizerPtr make(const std::string& type, Fields& fields, bool keep_bytes) {
  if (type == "ByteLevel") return byte_level_from_json(fields, keep_bytes);
  if (type == "Split") return split_from_json(fields);
  if (type == "Sequence") return sequence_from_json(fields, keep_bytes);
  if (type == "Whitespace") return make_whitespace();
  if (type == "WhitespaceSplit") return make_whitespace_split();
  if (type == "Digits") return make_digits(fields.boolean("individual_digits", false));
  if (type == "Punctuation") return make_punctuation(behavior_from_json(fields, "Isolated"));
  if (type == "BertPreTokenizer") return make_bert_pre_tokenizer();
  if (type == "CharDelimiterSplit") return make_char_delimiter_split(fields.character("delimiter"));
  if (type == "UnicodeScripts") return make_unicode_scripts();
  if (type == "FixedLength") {
    const std::int64_t length = fields.integer("length", 5);
    if (length < 1) fields.fail(core::concat("'length' must be at least 1, found ", length));
    return make_fixed_length(length);
  }
  if (type == "Metaspace") {
    std::string replacement;
    append_utf8(replacement, fields.character("replacement"));
    const PrependScheme scheme = prepend_scheme_from_json(fields);
    return make_metaspace(replacement, scheme, fields.boolean("split", true));
  }
  fields.fail(core::concat("the pre-tokenizer '", type, "' is not implemented"));
}

}  // namespace

Regex pattern_from_json(Fields& fields) {
  const core::Json* pattern = fields.find("pattern");
  if (pattern == nullptr) fields.fail("the key 'pattern' is missing");
  Fields kind(*pattern, fields.where() + ": pattern");
  const bool is_text = kind.find("String") != nullptr;
  Regex regex = is_text ? Regex::literal(kind.text("String"), kind.where())
                        : Regex(kind.text("Regex"), kind.where());
  kind.done();
  return regex;
}

PrependScheme prepend_scheme_from_json(Fields& fields) {
  const core::Json* old = fields.find("add_prefix_space");  // files older than prepend_scheme
  const bool add = fields.boolean("add_prefix_space", true);
  const core::Json* given = fields.find("prepend_scheme");
  fields.find("str_rep");  // files older still: the replacement once more
  if (given == nullptr) return add ? PrependScheme::kAlways : PrependScheme::kNever;
  const std::string name = fields.text("prepend_scheme");
  if (old != nullptr && !add && name != "never") {
    fields.fail(core::concat("'add_prefix_space: false' contradicts 'prepend_scheme: ", name, "'"));
  }
  if (name == "always") return PrependScheme::kAlways;
  if (name == "first") return PrependScheme::kFirst;
  if (name == "never") return PrependScheme::kNever;
  fields.fail(core::concat("the prepend_scheme '", name, "' is not implemented"));
}

PreTokenizerPtr pre_tokenizer_from_json(const core::Json& json, const std::string& where,
                                        bool keep_bytes) {
  Fields fields(json, where);
  PreTokenizerPtr made = make(fields.text("type"), fields, keep_bytes);
  fields.done();
  return made;
}

bool ends_with_byte_level(const core::Json& json) {
  if (!json.is_object() || !json.contains("type") || !json.at("type").is_string()) return false;
  const std::string type = json.at("type").get<std::string>();
  if (type == "ByteLevel") return true;
  if (type != "Sequence" || !json.contains("pretokenizers")) return false;
  const core::Json& parts = json.at("pretokenizers");
  return parts.is_array() && !parts.empty() && ends_with_byte_level(parts.back());
}

}  // namespace corda::tokenizer
