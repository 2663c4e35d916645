// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "tokenizer/quick_decimal.h"

#include <cstdlib>

#include "golden.h"

namespace corda::tokenizer {
namespace {

TEST(QuickDecimal, ReadsNumbersAsHuggingFaceDoes) {
  const core::Json golden = golden_json("small/numbers.json");
  ASSERT_EQ(golden.size(), 200U);
  int not_the_closest = 0;
  for (const auto& [written, read] : golden.get<std::vector<std::pair<std::string, double>>>()) {
    EXPECT_EQ(quick_decimal(written), read) << written;
    not_the_closest += std::strtod(written.c_str(), nullptr) != read ? 1 : 0;
  }
  EXPECT_GT(not_the_closest, 10);  // else strtod would do
}

}  // namespace
}  // namespace corda::tokenizer
