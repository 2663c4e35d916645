// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "linalg/split.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

namespace corda::linalg {
namespace {

TEST(Split, PiecesHold16BitsAndSoDoTheirProducts) {
  at::manual_seed(16);
  const at::Tensor a = at::randn({60, 300}, at::kDouble);
  const at::Tensor b = at::randn({300, 50}, at::kDouble);
  const Pieces pieces = bf16_pieces_of(a);
  ASSERT_EQ(pieces.size(), 2U);
  for (const auto& piece : pieces) EXPECT_EQ(piece.scalar_type(), at::kBFloat16);
  const at::Tensor sum = pieces[0].to(at::kDouble) + pieces[1].to(at::kDouble);
  // Each piece is rounded to 8 bits.
  EXPECT_LT(((sum - a) / a).abs().max().item<double>(), std::pow(2.0, -17));
  const auto error = [](const at::Tensor& found, const at::Tensor& expected) {
    return (at::linalg_norm(found.to(at::kDouble) - expected) / at::linalg_norm(expected))
        .item<double>();
  };
  EXPECT_LT(error(multiply(pieces, bf16_pieces_of(b)), at::mm(a, b)), 1e-5);
  EXPECT_GT(error(multiply({pieces[0]}, {b.to(at::kBFloat16)}), at::mm(a, b)), 1e-4)
      << "one piece would have done";
  const at::Tensor gram = multiply_by_transpose(pieces);
  EXPECT_TRUE(at::equal(gram, gram.t()));
  EXPECT_LT(error(gram, at::mm(a, a.t())), 1e-5);
  EXPECT_EQ(bf16_pieces_of(a.to(at::kBFloat16)).size(), 1U);
  EXPECT_EQ(pieces_of(a).size(), 1U);
  EXPECT_EQ(pieces_of(a)[0].scalar_type(), at::kFloat);
}

}  // namespace
}  // namespace corda::linalg
