// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "jinja/json_value.h"

#include <limits>

#include "corda/core/error.h"

namespace corda::jinja {

Value labelled_text(std::string text, std::int32_t source) {
  Text labelled{.value = std::move(text)};
  if (!labelled.value.empty())
    labelled.sources = {{0, static_cast<std::int64_t>(labelled.value.size()), source}};
  return Value(std::move(labelled));
}

Value from_json(const core::Json& json, std::optional<std::int32_t> source) {
  const auto text_value = [&](const std::string& text) {
    return source ? labelled_text(text, *source) : Value(text);
  };
  using Type = core::Json::value_t;
  switch (json.type()) {
    case Type::boolean:
      return json.get<bool>();
    case Type::number_unsigned:
      if (json.get<std::uint64_t>() >
          static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        throw core::FormatError(
            core::concat("the integer ", json.dump(), " does not fit in 64 bits"));
      }
      [[fallthrough]];
    case Type::number_integer:
      return json.get<std::int64_t>();
    case Type::number_float:
      return json.get<double>();
    case Type::string:
      return text_value(json.get_ref<const std::string&>());
    case Type::array: {
      Value::List items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(from_json(item, source));
      return Value::list(std::move(items));
    }
    case Type::object: {
      Value::Dict entries;
      entries.reserve(json.size());
      for (const auto& [key, item] : json.items())
        entries.emplace_back(text_value(key), from_json(item, source));
      return Value::dict(std::move(entries));
    }
    default:
      return nullptr;
  }
}

}  // namespace corda::jinja
