// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The day that templates show: a setting, so that ids do not depend on when they are made. today()
// is declared in corda/data/load.h.
#pragma once

#include <ctime>
#include <string>

namespace corda::data {

// The beginning of the day "YYYY-MM-DD". Throws ConfigError where there is no such day.
std::tm midnight_of(const std::string& date);

}  // namespace corda::data
