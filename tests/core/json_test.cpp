// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "core/json.h"

#include <gtest/gtest.h>

#include <cmath>

#include "corda/core/error.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"

namespace corda::core {
namespace {

using corda::testing::error_of;

const double kNan = std::nan("");

// Other readers take the words NaN and Infinity for malformed JSON, and ours a null for no number.
TEST(Json, AFileWithANumberThatIsNotFiniteIsRefusedAndItsKeyNamed) {
  const testing::TemporaryDirectory folder;
  const fs::path file = folder.path() / "corda.json";
  for (const double wrong : {kNan, static_cast<double>(INFINITY), -static_cast<double>(INFINITY)}) {
    const Json notes = {{"rank", 4}, {"layers", {{"q_proj", {{"bounds", {1.0, wrong}}}}}}};
    EXPECT_EQ(error_of<NumericalError>([&] { write_json(file, notes); }),
              "'" + file.string() +
                  "' would hold a NaN or an infinity at '/layers/q_proj/bounds/1', which JSON "
                  "cannot");
    EXPECT_FALSE(fs::exists(file));
  }
  write_json(file, {{"energy", 1.5}});
  EXPECT_EQ(read_file(file), "{\n  \"energy\": 1.5\n}\n");
}

TEST(Json, ANumberThatNoTypeHoldsIsNamedWithItsPlace) {
  EXPECT_EQ(error_of<FormatError>([] { parse_json("{\n \"a\": 1e400}", "f"); }),
            "f:2:12: a number is too large: 1e400");
}

TEST(Json, ALineHoldsNullWhereANumberIsNotFinite) {
  EXPECT_EQ(json_line({{"loss", kNan}, {"norm", INFINITY}, {"least", -INFINITY}, {"lr", 0.5}}),
            R"({"loss":null,"norm":null,"least":null,"lr":0.5})");
}

TEST(Json, ALineIsUtf8WhateverItsBytes) {
  EXPECT_EQ(json_line({{"name", "a\xFF"}}), "{\"name\":\"a\xEF\xBF\xBD\"}");
}

}  // namespace
}  // namespace corda::core
