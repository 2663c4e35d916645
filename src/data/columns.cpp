// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/data/load.h"

namespace corda::data {

std::map<std::string, std::string> parse_columns(const std::string& text) {
  std::map<std::string, std::string> columns;
  if (core::trim(text).empty()) return columns;
  for (const auto& entry : core::split(text, ',')) {
    const std::size_t equals = entry.find('=');
    const std::string field(core::trim(entry.substr(0, equals)));
    const std::string column(equals == std::string::npos
                                 ? std::string_view()
                                 : core::trim(std::string_view(entry).substr(equals + 1)));
    if (field.empty() || column.empty()) {
      throw core::ConfigError(core::concat("--columns takes FIELD=COLUMN,FIELD=COLUMN,...; '",
                                           entry, "' is not of that form"));
    }
    if (!columns.emplace(field, column).second) {
      throw core::ConfigError(core::concat("--columns names the field '", field, "' twice"));
    }
  }
  return columns;
}

}  // namespace corda::data
