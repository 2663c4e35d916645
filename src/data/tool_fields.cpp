// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/tool_fields.h"

#include <utility>

#include "corda/core/error.h"
#include "corda/core/text.h"

namespace corda::data {

using core::concat;
using core::FormatError;
using core::Json;

namespace {

Json parsed_object(const std::string& text) {
  try {
    Json parsed = core::parse_json(text, "arguments");
    return parsed.is_object() ? parsed : Json();
  } catch (const FormatError&) {
    return {};
  }
}

bool is_no_text(const std::string& text) {
  const std::string_view trimmed = core::trim(text);
  return trimmed.empty() || trimmed == "null";
}

// `arguments` as text, which is how OpenAI's API has them, is the commonest way to a doubly quoted
// prompt: templates print them as JSON.
void normalise_arguments(Json& function, Arguments how, ToolChanges& changes) {
  const auto found = function.find("arguments");
  if (found == function.end()) return;
  if (found->is_null() || (found->is_string() && is_no_text(found->get<std::string>()))) {
    *found = how == Arguments::kObjects ? Json::object() : Json("{}");
    changes.parsed = true;
  } else if (found->is_string()) {
    if (how == Arguments::kAsText) return;
    Json parsed = parsed_object(found->get<std::string>());
    if (parsed.is_null()) return;
    *found = std::move(parsed);
    changes.parsed = true;
  } else if (drop_null_members(*found)) {
    changes.dropped_nulls = true;
  }
}

void drop_own_nulls(Json& object) {
  for (auto member = object.begin(); member != object.end();) {
    if (member->is_null() && member.key() != "arguments") {
      member = object.erase(member);
    } else {
      ++member;
    }
  }
}

}  // namespace

bool drop_null_members(Json& value) {
  bool dropped = false;
  if (value.is_array()) {
    for (Json& item : value) dropped = drop_null_members(item) || dropped;
  } else if (value.is_object()) {
    for (auto member = value.begin(); member != value.end();) {
      if (member->is_null()) {
        member = value.erase(member);
        dropped = true;
      } else {
        dropped = drop_null_members(*member) || dropped;
        ++member;
      }
    }
  }
  return dropped;
}

ToolChanges normalise_calls(Json& calls, Arguments arguments) {
  ToolChanges changes;
  if (!calls.is_array())
    throw FormatError(concat("'tool_calls' must be a list; it is of type ", calls.type_name()));
  for (Json& call : calls) {
    if (!call.is_object()) throw FormatError("a tool call must be an object");
    drop_own_nulls(call);
    Json& function = call.contains("function") ? call["function"] : call;
    if (function.is_object()) drop_own_nulls(function);
    if (!function.is_object() || !function.contains("name") || !function["name"].is_string())
      throw FormatError("a tool call must name its function");
    normalise_arguments(function, arguments, changes);
  }
  return changes;
}

Json calls_of_text(const std::string& text) {
  Json parsed;
  try {
    parsed = core::parse_json(text, "value");
  } catch (const FormatError& error) {
    throw FormatError(concat("a function call must be JSON: ", error.what()));
  }
  Json calls = Json::array();
  for (Json& call : parsed.is_array() ? parsed : parsed = Json::array({parsed})) {
    if (!call.is_object() || !call.contains("name") || !call["name"].is_string())
      throw FormatError("a function call must be an object with a 'name'");
    calls.push_back({{"type", "function"}, {"function", std::move(call)}});
  }
  return calls;
}

Json tools_of(const Json& value, bool functions, bool& dropped_nulls) {
  Json list = value;
  if (list.is_string()) {
    if (is_no_text(list.get<std::string>())) return {};
    list = core::parse_json(list.get<std::string>(), "tools");
  } else {
    dropped_nulls = drop_null_members(list) || dropped_nulls;
  }
  if (list.is_null()) return {};
  if (!list.is_array())
    throw FormatError(concat("it must hold a list of tools; it holds ", list.type_name()));
  for (std::size_t i = 0; i < list.size(); ++i) {
    Json& tool = list[i];
    if (!tool.is_object())
      throw FormatError(concat("tool ", i, " must be an object; it is of type ", tool.type_name()));
    if (functions && !tool.contains("function"))
      tool = Json{{"type", "function"}, {"function", std::move(tool)}};
  }
  return list.empty() ? Json() : list;
}

}  // namespace corda::data
