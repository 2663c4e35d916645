// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/quantity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>

namespace corda::core {
namespace {

TEST(Quantity, ThousandsAreSetApart) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1 000");
  EXPECT_EQ(grouped(-123456), "-123 456");
  EXPECT_EQ(grouped(12345678), "12 345 678");
}

TEST(Quantity, FourDigitsAreKeptAndWhatIsNotFiniteHasAName) {
  EXPECT_EQ(four_digits(0), "0");
  EXPECT_EQ(four_digits(123456), "123500");
  EXPECT_EQ(four_digits(-0.000123456), "-0.0001235");
  EXPECT_EQ(four_digits(2), "2");
  EXPECT_EQ(four_digits(std::nan("")), "nan");
  EXPECT_EQ(four_digits(-std::numeric_limits<double>::infinity()), "-inf");
  EXPECT_EQ(four_digits(std::numeric_limits<double>::denorm_min()), "5e-324");
}

TEST(Quantity, ExponentsAreAsShortAsPeopleWriteThem) {
  EXPECT_EQ(short_number(2e-4), "2e-4");
  EXPECT_EQ(short_number(1e6), "1e6");
  EXPECT_EQ(short_number(1.5e-12), "1.5e-12");
  EXPECT_EQ(short_number(1e300), "1e300");
  EXPECT_EQ(short_number(0.002), "0.002");
  EXPECT_EQ(four_digits(2e-5), "2e-5");
}

TEST(Quantity, SizesGoUpInThousands) {
  EXPECT_EQ(size_text(999), "999 bytes");
  EXPECT_EQ(size_text(1234567), "1.235 MB");
  EXPECT_EQ(size_text(5'000'000'000'000'000), "5000 TB");
}

}  // namespace
}  // namespace corda::core
