// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "side_files.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "fields.h"

namespace corda::tokenizer {

namespace {

constexpr std::array<const char*, 7> kNames = {"bos_token", "eos_token", "unk_token", "sep_token",
                                               "pad_token", "cls_token", "mask_token"};

bool is_name(std::string_view key) {
  return std::find(kNames.begin(), kNames.end(), key) != kNames.end();
}

core::Json read_object(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return core::Json::object();
  core::Json json = core::read_json(path);
  if (!json.is_object())
    throw core::FormatError(
        core::concat(path.string(), ": expected an object, found ", json.type_name()));
  return json;
}

// A token as a text, or as an object with its content and marks. Absent marks are those of
// tokenizers.AddedToken, which looks for a special token in the text before it is normalized.
AddedToken token_from_json(const core::Json& json, const std::string& where, bool special) {
  if (json.is_null()) return {};
  if (json.is_string())
    return {.content = json.get<std::string>(), .special = true, .normalized = false};
  if (!json.is_object())
    throw core::FormatError(core::concat(
        where, ": expected a text or an object with 'content', found ", json.type_name()));
  Fields fields(json, where);
  AddedToken token;
  token.content = fields.text("content");
  token.special = fields.boolean("special", special) || special;
  token.single_word = fields.boolean("single_word", false);
  token.lstrip = fields.boolean("lstrip", false);
  token.rstrip = fields.boolean("rstrip", false);
  token.normalized = fields.boolean("normalized", !token.special);
  return token;
}

// The name of a model's own special token: any other key of this kind that holds a token.
bool names_own_token(const std::string& key, const core::Json& value) {
  return key.ends_with("_token") && !is_name(key) &&
         (value.is_string() || (value.is_object() && value.contains("content")));
}

// The entries of a list of tokens, or of an object from names to tokens.
std::vector<NamedToken> tokens_of(const core::Json& json, const std::string& where,
                                  const std::string& file, bool special) {
  std::vector<NamedToken> tokens;
  if (!json.is_null() && !json.is_structured())
    throw core::FormatError(core::concat(
        where, ": expected a list of tokens, or an object of them, found ", json.type_name()));
  for (const auto& [key, value] : json.items()) {
    const std::string entry = core::concat(where, "[", key, "]");
    tokens.push_back({.name = json.is_object() ? key : std::string(),
                      .token = token_from_json(value, entry, special),
                      .from = file});
  }
  return tokens;
}

// A number or a list of numbers.
std::vector<std::int64_t> ids_of(const core::Json& file, const char* key, const std::string& path) {
  std::vector<std::int64_t> ids;
  const auto at = file.find(key);
  if (at == file.end() || at->is_null()) return ids;
  const core::Json list = at->is_array() ? *at : core::Json::array({*at});
  for (const core::Json& id : list) {
    if (!id.is_number_integer() ||
        (id.is_number_unsigned() && id.get<std::uint64_t>() > INT64_MAX)) {
      throw core::FormatError(core::concat(
          path, ": '", key, "' must be a token id or a list of them, found ", id.type_name()));
    }
    if (id.get<std::int64_t>() >= 0) ids.push_back(id.get<std::int64_t>());
  }
  return ids;
}

const core::Json& text_part(const core::Json& config, const char* key) {
  const auto inner = config.find("text_config");
  return !config.contains(key) && inner != config.end() && inner->is_object() ? *inner : config;
}

}  // namespace

SideFiles::SideFiles(const std::filesystem::path& directory)
    : directory_(directory),
      tokenizer_config_(read_object(directory / "tokenizer_config.json")),
      special_tokens_map_(read_object(directory / "special_tokens_map.json")),
      added_tokens_(read_object(directory / "added_tokens.json")),
      generation_config_(read_object(directory / "generation_config.json")),
      config_(read_object(directory / "config.json")),
      has_generation_config_(std::filesystem::exists(directory / "generation_config.json")) {
  const auto decoder = tokenizer_config_.find("added_tokens_decoder");
  has_decoder_ = decoder != tokenizer_config_.end() && !decoder->is_null();
  if (has_decoder_ && !decoder->is_object())
    throw core::FormatError(
        core::concat(path("tokenizer_config.json"), ": 'added_tokens_decoder' must be an object"));
}

std::optional<bool> SideFiles::flag(const char* key) const {
  const auto at = tokenizer_config_.find(key);
  if (at == tokenizer_config_.end() || at->is_null()) return std::nullopt;
  if (!at->is_boolean())
    throw core::FormatError(
        core::concat(path("tokenizer_config.json"), ": '", key, "' must be true or false"));
  return at->get<bool>();
}

std::vector<NamedToken> SideFiles::named() const {
  const std::string config = path("tokenizer_config.json");
  const std::string map = path("special_tokens_map.json");
  std::vector<NamedToken> tokens;
  const auto in_map = [&](const std::string& key) {
    return !has_decoder_ && special_tokens_map_.contains(key);
  };
  // Sets a token's value; one that is there already keeps its place.
  const auto set = [&](NamedToken token) {
    const auto at = std::find_if(tokens.begin(), tokens.end(), [&](const NamedToken& earlier) {
      return earlier.name == token.name;
    });
    if (at == tokens.end()) {
      tokens.push_back(std::move(token));
    } else {
      *at = std::move(token);
    }
  };
  const auto set_from = [&](const std::string& key, bool from_map) {
    const std::string& file = from_map ? map : config;
    set({key,
         token_from_json((from_map ? special_tokens_map_ : tokenizer_config_).at(key),
                         core::concat(file, ": '", key, "'"), from_map),
         file});
  };
  for (const char* key : kNames) {
    if (in_map(key) || tokenizer_config_.contains(key)) set_from(key, in_map(key));
  }
  // A model's own tokens: objects and those of the map come first; texts of tokenizer_config.json
  // and the object `extra_special_tokens` replace their values.
  for (const auto& [key, value] : tokenizer_config_.items()) {
    if (names_own_token(key, value) && value.is_object()) set_from(key, in_map(key));
  }
  for (const auto& [key, value] : special_tokens_map_.items()) {
    if (names_own_token(key, value) && in_map(key)) set_from(key, true);
  }
  std::vector<NamedToken> texts;
  for (const auto& [key, value] : tokenizer_config_.items()) {
    if (names_own_token(key, value) && value.is_string())
      texts.push_back({key, token_from_json(value, key, false), config});
  }
  for (NamedToken& token : extra())
    if (!token.name.empty()) texts.push_back(std::move(token));
  // transformers writes this object where it saves a tokenizer, and takes it where nothing else
  // names a token by a text.
  for (NamedToken& token : model_specific()) {
    if (texts.empty()) set(std::move(token));
  }
  for (NamedToken& token : texts) set(std::move(token));
  return tokens;
}

std::vector<NamedToken> SideFiles::model_specific() const {
  constexpr const char* kKey = "model_specific_special_tokens";
  const auto at = tokenizer_config_.find(kKey);
  if (at == tokenizer_config_.end() || at->is_null()) return {};
  const std::string config = path("tokenizer_config.json");
  const std::string where = core::concat(config, ": '", kKey, "'");
  if (!at->is_object())
    throw core::FormatError(
        core::concat(where, ": expected an object of tokens by name, found ", at->type_name()));
  return tokens_of(*at, where, config, false);
}

std::vector<NamedToken> SideFiles::extra() const {
  const std::string config = path("tokenizer_config.json");
  const std::string map = path("special_tokens_map.json");
  std::vector<NamedToken> tokens;
  bool found = false;
  for (const char* key : {"extra_special_tokens", "additional_special_tokens"}) {
    const auto at = tokenizer_config_.find(key);
    if (found || at == tokenizer_config_.end()) continue;
    found = true;
    tokens = tokens_of(*at, core::concat(config, ": '", key, "'"), config, false);
  }
  if (has_decoder_) return tokens;
  // `extra_special_tokens` of the map join those of tokenizer_config.json, its
  // `additional_special_tokens` count where that has none.
  for (const char* key : {"extra_special_tokens", "additional_special_tokens"}) {
    const auto at = special_tokens_map_.find(key);
    if (at == special_tokens_map_.end()) continue;
    if (found && std::string_view(key) == "additional_special_tokens") continue;
    found = true;
    for (NamedToken& token : tokens_of(*at, core::concat(map, ": '", key, "'"), map, true))
      tokens.push_back(std::move(token));
  }
  return tokens;
}

std::vector<NamedToken> SideFiles::added() const {
  std::vector<NamedToken> tokens;
  if (has_decoder_) {
    const std::string file = path("tokenizer_config.json");
    const std::string where = file + ": added_tokens_decoder";
    for (const auto& [key, value] : tokenizer_config_.at("added_tokens_decoder").items()) {
      const std::optional<std::int64_t> id = core::parse_int(key);
      if (!id) throw core::FormatError(core::concat(where, ": '", key, "' is not a token id"));
      tokens.push_back({"", added_token_from_json(value, where, *id), file});
    }
  } else {
    const std::string file = path("added_tokens.json");
    std::set<std::string> special;
    for (const NamedToken& token : named()) {
      if (is_name(token.name)) special.insert(token.token.content);
    }
    for (const NamedToken& token : extra()) {
      if (token.name.empty()) special.insert(token.token.content);
    }
    for (const auto& [content, value] : added_tokens_.items()) {
      const core::Json described = {
          {"content", content}, {"id", value}, {"special", special.contains(content)}};
      tokens.push_back({"", added_token_from_json(described, file), file});
    }
  }
  std::stable_sort(tokens.begin(), tokens.end(), [](const NamedToken& a, const NamedToken& b) {
    return a.token.id < b.token.id;
  });
  return tokens;
}

std::string SideFiles::hub_class() const {
  std::string name;
  for (const core::Json* file : {&tokenizer_config_, &config_}) {
    const auto at = file->find("tokenizer_class");
    if (name.empty() && at != file->end() && at->is_string()) name = at->get<std::string>();
  }
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  return name;
}

std::string SideFiles::tokenizer_class() const {
  const std::string type = model_type();
  // The types that transformers loads with its general class, or with a class of its own, whatever
  // tokenizer_config.json says.
  for (const char* general : {"mistral", "mixtral", "ministral", "ministral3", "mistral3", "phi3",
                              "olmo2", "olmo3", "granite", "glm4", "stablelm"}) {
    if (type == general) return "";
  }
  const std::string hub = hub_class();
  if (type == "qwen2") return "Qwen2Tokenizer";
  if (hub == "PreTrainedTokenizer" || hub == "TokenizersBackend") return "";
  if (!hub.empty()) return hub;
  if (type.starts_with("gemma")) return "GemmaTokenizer";
  if (type.starts_with("qwen3")) return "Qwen2Tokenizer";
  if (type == "gpt2" || type == "phi" || type == "starcoder2") return "GPT2Tokenizer";
  return "";
}

std::string SideFiles::model_type() const {
  const auto at = config_.find("model_type");
  return at != config_.end() && at->is_string() ? at->get<std::string>() : "";
}

std::optional<std::int64_t> SideFiles::model_rows() const {
  const core::Json& part = text_part(config_, "vocab_size");
  const auto at = part.find("vocab_size");
  if (at == part.end() || !at->is_number_integer()) return std::nullopt;
  return at->get<std::int64_t>();
}

std::vector<std::int64_t> SideFiles::generation_ids(const char* key) const {
  return ids_of(generation_config_, key, path("generation_config.json"));
}

std::vector<std::int64_t> SideFiles::config_ids(const char* key) const {
  return ids_of(text_part(config_, key), key, path("config.json"));
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

}  // namespace corda::tokenizer
