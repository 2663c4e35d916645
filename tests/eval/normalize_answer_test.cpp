// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <gtest/gtest.h>

#include "corda/eval/eval.h"

namespace corda::eval {
namespace {

TEST(NormalizeAnswer, LowersAndDropsPunctuationArticlesAndSpaces) {
  EXPECT_EQ(normalize_answer(" The  Eiffel Tower. "), "eiffel tower");
  EXPECT_EQ(normalize_answer("U.S.A."), "usa");
  EXPECT_EQ(normalize_answer("a-b an the theatre"), "ab theatre");
  EXPECT_EQ(normalize_answer("Padm\u00e9 AMIDALA!"), "padm\u00e9 amidala");
  EXPECT_EQ(normalize_answer("\u00c9COLE"), "\u00e9cole");
  EXPECT_EQ(normalize_answer("the"), "");
  EXPECT_EQ(normalize_answer("tab\tand\u00a0nbsp"), "tab and nbsp");
  // Article beside punctuation that is not ASCII: a word boundary all the same.
  EXPECT_EQ(normalize_answer("\u201cthe end\u201d"), "\u201c end\u201d");
}

TEST(NormalizeAnswer, KeepsAnArticleThatOnlyBecomesAWordPart) {
  // Punctuation goes first, so "a.b" is the word "ab", not the article "a".
  EXPECT_EQ(normalize_answer("a.b"), "ab");
  EXPECT_EQ(normalize_answer("another"), "another");
}

}  // namespace
}  // namespace corda::eval
