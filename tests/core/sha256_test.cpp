// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/sha256.h"

#include <gtest/gtest.h>

#include <string>

namespace corda::core {
namespace {

// FIPS 180-4 example vectors (NIST).
TEST(Sha256, MatchesPublishedVectors) {
  EXPECT_EQ(Sha256().hex_digest(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256().update("abc").hex_digest(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(
      Sha256().update("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq").hex_digest(),
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(Sha256().update(std::string(1'000'000, 'a')).hex_digest(),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, DoesNotDependOnHowTheTextIsCut) {
  const std::string text(1000, 'x');
  const std::string whole = Sha256().update(text).hex_digest();
  for (const std::size_t cut : {1U, 55U, 63U, 64U, 65U, 999U}) {
    EXPECT_EQ(Sha256().update(text.substr(0, cut)).update(text.substr(cut)).hex_digest(), whole)
        << cut;
  }
}

}  // namespace
}  // namespace corda::core
