// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/day.h"

#include <array>
#include <chrono>
#include <string_view>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/data/load.h"

namespace corda::data {

std::tm midnight_of(const std::string& date) {
  const std::string_view text = date;
  if (text.size() == 10 && text[0] != '-' && text[4] == '-' && text[7] == '-') {
    const auto year = core::parse_int(text.substr(0, 4));
    const auto month = core::parse_int(text.substr(5, 2));
    const auto day = core::parse_int(text.substr(8, 2));
    if (year && month && day) {
      const std::chrono::year_month_day found(std::chrono::year(static_cast<int>(*year)),
                                              std::chrono::month(static_cast<unsigned>(*month)),
                                              std::chrono::day(static_cast<unsigned>(*day)));
      if (found.ok()) {
        const std::chrono::sys_days days = found;
        const std::chrono::sys_days new_year = found.year() / 1 / 1;
        std::tm result = {};
        result.tm_year = static_cast<int>(*year) - 1900;
        result.tm_mon = static_cast<int>(*month) - 1;
        result.tm_mday = static_cast<int>(*day);
        result.tm_wday = static_cast<int>(std::chrono::weekday(days).c_encoding());
        result.tm_yday = static_cast<int>((days - new_year).count());
        return result;
      }
    }
  }
  throw core::ConfigError(
      core::concat("'", date, "' is no day; a date is written as in 2026-11-24"));
}

std::string today() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm local = {};
  localtime_r(&now, &local);
  std::array<char, 32> text = {};
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%d", &local);
  return {text.data(), size};
}

}  // namespace corda::data
