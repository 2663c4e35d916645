// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "fields.h"
#include "load.h"

namespace corda::tokenizer {

namespace {

core::Json read_object(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return core::Json::object();
  core::Json json = core::read_json(path);
  if (!json.is_object())
    throw core::FormatError(
        core::concat(path.string(), ": expected an object, found ", json.type_name()));
  return json;
}

// "bos_token" is a text, or an object with the text as its content.
std::optional<std::string> token_of(const core::Json& file, const char* key) {
  const auto at = file.find(key);
  if (at == file.end()) return std::nullopt;
  if (at->is_string()) return at->get<std::string>();
  if (at->is_object() && at->contains("content") && at->at("content").is_string())
    return at->at("content").get<std::string>();
  return std::string();
}

// An id, or the first of a list of ids ("eos_token_id").
std::optional<TokenId> id_of(const core::Json& file, const char* key) {
  const auto at = file.find(key);
  if (at == file.end()) return std::nullopt;
  const core::Json& value = at->is_array() && !at->empty() ? at->front() : *at;
  if (!value.is_number_integer()) return std::nullopt;
  const auto id = value.get<std::int64_t>();
  if (id < 0 || id > kMaxTokenId) return std::nullopt;  // -1 is how some files say "none"
  return static_cast<TokenId>(id);
}

std::optional<TokenId> special_id(const Tokenizer& tokenizer, const SideFiles& side,
                                  const std::string& name) {
  if (const std::optional<std::string> token = side.token((name + "_token").c_str())) {
    if (const std::optional<TokenId> id = tokenizer.token_to_id(*token)) return id;
    throw core::FormatError(
        core::concat(side.where, ": the ", name, "_token '", *token, "' is not in the vocabulary"));
  }
  const std::string key = name + "_token_id";
  for (const core::Json* file : {&side.generation_config, &side.config}) {
    const std::optional<TokenId> id = id_of(*file, key.c_str());
    if (id && *id < tokenizer.vocab_size()) return id;
  }
  return std::nullopt;
}

}  // namespace

SideFiles::SideFiles(const std::filesystem::path& directory)
    : tokenizer_config(read_object(directory / "tokenizer_config.json")),
      special_tokens_map(read_object(directory / "special_tokens_map.json")),
      generation_config(read_object(directory / "generation_config.json")),
      config(read_object(directory / "config.json")),
      where((directory / "tokenizer_config.json").string()) {}

std::optional<bool> SideFiles::flag(const char* key) const {
  const auto at = tokenizer_config.find(key);
  if (at == tokenizer_config.end() || at->is_null()) return std::nullopt;
  if (!at->is_boolean())
    throw core::FormatError(core::concat(where, ": '", key, "' must be true or false"));
  return at->get<bool>();
}

std::optional<std::string> SideFiles::token(const char* key) const {
  if (std::optional<std::string> token = token_of(tokenizer_config, key)) return token;
  return token_of(special_tokens_map, key);
}

std::string SideFiles::tokenizer_class() const {
  std::string name = token_of(tokenizer_config, "tokenizer_class").value_or("");
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  return name;
}

std::vector<AddedToken> SideFiles::added_tokens() const {
  std::vector<AddedToken> tokens;
  const auto list = tokenizer_config.find("added_tokens_decoder");
  if (list == tokenizer_config.end() || list->is_null()) return tokens;
  if (!list->is_object())
    throw core::FormatError(core::concat(where, ": 'added_tokens_decoder' must be an object"));
  for (const auto& [key, value] : list->items()) {
    const std::optional<std::int64_t> id = core::parse_int(key);
    if (!id)
      throw core::FormatError(
          core::concat(where, ": added_tokens_decoder: '", key, "' is not a token id"));
    tokens.push_back(added_token_from_json(value, where + ": added_tokens_decoder", *id));
  }
  std::sort(tokens.begin(), tokens.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return tokens;
}

AddedToken added_token_from_json(const core::Json& json, const std::string& where,
                                 std::int64_t id) {
  Fields fields(json, where);
  if (id < 0) id = fields.integer("id");
  AddedToken token;
  token.content = fields.text("content");
  if (id < 0 || id > kMaxTokenId)
    fields.fail(core::concat("the added token '", token.content, "' has the id ", id,
                             ", outside 0 to ", kMaxTokenId));
  token.id = static_cast<TokenId>(id);
  token.special = fields.boolean("special", false);
  token.single_word = fields.boolean("single_word", false);
  token.lstrip = fields.boolean("lstrip", false);
  token.rstrip = fields.boolean("rstrip", false);
  token.normalized = fields.boolean("normalized", !token.special);
  fields.find("__type");  // written by older versions
  fields.done();
  return token;
}

void set_special_ids(Tokenizer& tokenizer, const SideFiles& side) {
  const auto set = [&](std::optional<TokenId>& id, const std::string& name) {
    if (const std::optional<std::string> token = side.token((name + "_token").c_str());
        token && token->empty()) {
      id.reset();  // null: the tokenizer says that it has none
    } else if (const std::optional<TokenId> found = special_id(tokenizer, side, name)) {
      id = found;
    }
  };
  set(tokenizer.bos_id, "bos");
  set(tokenizer.eos_id, "eos");
  set(tokenizer.pad_id, "pad");
  tokenizer.starts_with_bos =
      tokenizer.bos_id.has_value() && side.flag("add_bos_token").value_or(true);
}

}  // namespace corda::tokenizer
