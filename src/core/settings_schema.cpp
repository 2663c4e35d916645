// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <cmath>

#include "corda/core/settings.h"
#include "corda/core/text.h"
#include "core/json.h"

namespace corda::core {

namespace {

Json number(const Setting& setting, const char* type) {
  Json schema = {{"type", type}};
  const auto bound = [&](const char* key, double value) {
    if (std::isinf(value)) return;
    const bool whole = std::abs(value) < 9e15 && std::trunc(value) == value;
    schema[key] = whole ? Json(static_cast<std::int64_t>(value)) : Json(value);
  };
  bound("minimum", setting.range.min);
  bound("maximum", setting.range.max);
  return schema;
}

// YAML reads true and false as such where a word is meant.
Json words(const Setting& setting) {
  Json values = Json::array();
  for (const std::string& word : setting.choices) values.push_back(word);
  for (const std::string& word : setting.choices)
    if (word == "true" || word == "false") values.push_back(word == "true");
  return {{"enum", std::move(values)}};
}

Json list_of(Json item) {
  Json schema;
  schema["anyOf"] = Json::array({Json{{"type", "array"}, {"items", item}}, item});
  return schema;
}

Json schema_of(const Setting& setting);

Json map_of(const std::vector<Setting>& entries) {
  Json schema = {{"type", "object"}, {"additionalProperties", false}};
  schema["properties"] = Json::object();
  for (const Setting& entry : entries) schema["properties"][entry.name] = schema_of(entry);
  return schema;
}

Json type_schema(const Setting& setting) {
  const Json text = {{"type", "string"}};
  if (setting.type == "yes/no") return {{"type", "boolean"}};
  if (setting.type == "integer") return number(setting, "integer");
  if (setting.type == "number") return number(setting, "number");
  if (setting.type == "list") return list_of(text);
  if (setting.type == "list of numbers") return list_of(number(setting, "number"));
  if (setting.type == "map") return {{"type", "object"}};
  if (!setting.entries.empty()) {
    Json item;
    item["anyOf"] = Json::array({text, map_of(setting.entries)});
    return list_of(item);
  }
  if (!setting.choices.empty()) return words(setting);
  const bool may_be_empty = setting.write && setting.write().text.empty();
  return {{"type", may_be_empty ? Json::array({"string", "null"}) : Json("string")}};
}

Json schema_of(const Setting& setting) {
  Json schema = type_schema(setting);
  schema["description"] = setting.help;
  const std::string fallback =
      setting.write && !setting.required ? value_text(setting.write()) : "";
  if (!fallback.empty()) schema["description"] = setting.help + " [" + fallback + "]";
  return schema;
}

}  // namespace

std::string SettingsList::json_schema(const std::string& title) const {
  Json root = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
               {"title", title},
               {"type", "object"},
               {"properties", Json::object()},
               {"patternProperties", {{"^x-", Json::object()}}},
               {"additionalProperties", false}};
  for (const Setting& setting : items_) {
    Json* place = &root;
    const auto parts = split(setting.name, '.');
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      Json& group = (*place)["properties"][parts[i]];
      if (group.is_null()) {
        group = {{"type", Json::array({"object", "null"})},
                 {"properties", Json::object()},
                 {"additionalProperties", false}};
      }
      place = &group;
    }
    (*place)["properties"][parts.back()] = schema_of(setting);
    if (setting.required) (*place)["required"].push_back(parts.back());
  }
  return root.dump(2);
}

}  // namespace corda::core
