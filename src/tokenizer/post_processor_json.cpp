// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <utility>

#include "components_json.h"
#include "fields.h"

namespace corda::tokenizer {

namespace {

TokenId id_from_json(const core::Json& json, const Fields& fields) {
  if (!json.is_number_integer() || json.get<std::int64_t>() < 0 ||
      json.get<std::int64_t>() > kMaxTokenId) {
    fields.fail(core::concat("expected a token id, found ",
                             json.dump(-1, ' ', false, core::Json::error_handler_t::replace)));
  }
  return static_cast<TokenId>(json.get<std::int64_t>());
}

// ["</s>", 2]
TokenId pair_from_json(Fields& fields, const char* key) {
  const core::Json& pair = fields.list(key);
  if (pair.size() != 2) fields.fail(core::concat("'", key, "' must be a token and its id"));
  return id_from_json(pair[1], fields);
}

void append_special(Fields& item, const core::Json& tokens, std::vector<TokenId>& ids) {
  const std::string name = item.text("id");
  item.integer("type_id", 0);
  const auto at = tokens.find(name);
  if (at == tokens.end())
    item.fail(core::concat("the special token '", name, "' is not described in 'special_tokens'"));
  Fields token(*at, item.where());
  token.find("id");
  token.find("tokens");
  for (const core::Json& id : token.list("ids")) ids.push_back(id_from_json(id, token));
  token.done();
}

// [{"SpecialToken": {...}}, {"Sequence": {"id": "A"}}, ...]
Surroundings template_from_json(Fields& fields) {
  Surroundings made;
  const core::Json* described = fields.find("special_tokens");
  const core::Json tokens = described == nullptr ? core::Json::object() : *described;
  if (!tokens.is_object()) fields.fail("'special_tokens' must be an object");
  fields.find("pair");  // for pairs of texts, which nobody here encodes
  bool text_seen = false;
  for (const core::Json& entry : fields.list("single")) {
    Fields item(entry, fields.where() + ": single");
    if (const core::Json* special = item.find("SpecialToken")) {
      Fields inner(*special, item.where());
      append_special(inner, tokens, text_seen ? made.suffix : made.prefix);
      inner.done();
    } else {
      const core::Json* sequence = item.find("Sequence");
      if (sequence == nullptr) item.fail("an entry must be 'SpecialToken' or 'Sequence'");
      Fields inner(*sequence, item.where());
      if (inner.text("id") != "A" || text_seen)
        inner.fail("a template with other than one sequence 'A' is not implemented");
      inner.integer("type_id", 0);
      inner.done();
      text_seen = true;
    }
    item.done();
  }
  if (!text_seen) fields.fail("a template without the sequence 'A' is not implemented");
  return made;
}

Surroundings sequence_from_json(Fields& fields) {
  Surroundings made;
  std::size_t index = 0;
  for (const core::Json& part : fields.list("processors")) {
    Surroundings next =
        post_processor_from_json(part, core::concat(fields.where(), "[", index++, "]"));
    // A later processor wraps what the earlier ones made.
    made.prefix.insert(made.prefix.begin(), next.prefix.begin(), next.prefix.end());
    made.suffix.insert(made.suffix.end(), next.suffix.begin(), next.suffix.end());
  }
  return made;
}

Surroundings make(const std::string& type, Fields& fields) {
  if (type == "TemplateProcessing") return template_from_json(fields);
  if (type == "Sequence") return sequence_from_json(fields);
  if (type == "ByteLevel") {  // moves offsets, adds nothing
    for (const char* key : {"add_prefix_space", "trim_offsets", "use_regex"})
      fields.boolean(key, true);
    return {};
  }
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    for (const char* key : {"add_prefix_space", "trim_offsets"}) fields.boolean(key, true);
    const TokenId first = pair_from_json(fields, "cls");
    return {{first}, {pair_from_json(fields, "sep")}};
  }
  fields.fail(core::concat("the post-processor '", type, "' is not implemented"));
}

}  // namespace

Surroundings post_processor_from_json(const core::Json& json, const std::string& where) {
  Fields fields(json, where);
  Surroundings made = make(fields.text("type"), fields);
  fields.done();
  return made;
}

}  // namespace corda::tokenizer
