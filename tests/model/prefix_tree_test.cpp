// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/prefix_tree.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <numeric>

#include "corda/model/forward.h"
#include "support/family_goldens.h"

namespace corda::model {
namespace {

using Ids = std::vector<std::int32_t>;

PrefixTree tree_of(const std::vector<Ids>& sequences, std::int64_t least) {
  const std::vector<std::span<const std::int32_t>> spans(sequences.begin(), sequences.end());
  return {spans, least};
}

std::vector<std::int64_t> rows_of(const PrefixTree& tree, std::size_t sequence,
                                  std::size_t length) {
  std::vector<std::int64_t> rows;
  for (std::size_t t = 0; t < length; ++t)
    rows.push_back(tree.row(sequence, static_cast<std::int64_t>(t)));
  return rows;
}

// Runs: 1 2, then 3 4 and 3 5, whose common 3 is shorter than `least`; 9.
TEST(PrefixTree, CommonBeginningsOfEnoughTokensStandOnce) {
  const std::vector<Ids> sequences = {{9}, {1, 2, 3, 5}, {1, 2}, {1, 2, 3, 4}, {9}};
  const PrefixTree tree = tree_of(sequences, 2);
  EXPECT_EQ(tree.tokens(), 7);
  const Batch batch = tree.batch(10, at::kCPU);
  EXPECT_EQ(batch.offsets, (std::vector<std::int32_t>{0, 2, 4, 6, 7}));
  EXPECT_TRUE(at::equal(batch.ids, at::tensor({1, 2, 3, 4, 3, 5, 9}, at::kLong)));
  EXPECT_TRUE(at::equal(batch.positions, at::tensor({0, 1, 2, 3, 2, 3, 0}, at::kLong)));
  EXPECT_EQ(rows_of(tree, 1, 4), (std::vector<std::int64_t>{0, 1, 4, 5}));
  EXPECT_EQ(rows_of(tree, 2, 2), (std::vector<std::int64_t>{0, 1}));
  EXPECT_EQ(rows_of(tree, 3, 4), (std::vector<std::int64_t>{0, 1, 2, 3}));
  EXPECT_EQ(rows_of(tree, 0, 1), rows_of(tree, 4, 1));
  EXPECT_EQ(tree_of(sequences, 1).tokens(), 6);
  EXPECT_EQ(tree_of(sequences, 3).tokens(), 8);   // 1 2 by itself, 1 2 3 shared
  EXPECT_EQ(tree_of(sequences, 4).tokens(), 11);  // equal sequences stand once all the same
}

// Windows of 8 and soft caps are among them, and prefixes longer than a window.
class PrefixTreeOfFamily : public ::testing::TestWithParam<const char*> {};

TEST_P(PrefixTreeOfFamily, SharedBeginningsGiveTheHiddenStatesOfWholeSequences) {
  const corda::testing::FamilyGolden golden(GetParam());
  const Model model = golden.load();
  const at::NoGradGuard no_grad;
  Ids stem(12);
  std::iota(stem.begin(), stem.end(), 3);
  const auto behind = [](Ids ids, const Ids& more) {
    ids.insert(ids.end(), more.begin(), more.end());
    return ids;
  };
  const Ids longer = behind(stem, {7, 7, 8, 9});
  const std::vector<Ids> sequences = {behind(stem, {1, 2, 3, 4, 5}),
                                      stem,
                                      behind(longer, {4}),
                                      behind(longer, {5, 6, 7}),
                                      {40, 41}};
  const PrefixTree tree = tree_of(sequences, 4);
  EXPECT_EQ(tree.tokens(), 12 + 5 + 4 + 1 + 3 + 2);
  const Batch batch = tree.batch(model.config.vocab_size, at::kCPU);
  PrefixTree::SharedAttention shared(tree, at::kCPU);
  const at::Tensor hidden = forward_hidden(model, batch, shared);
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const Batch alone = corda::testing::batch_of(model, {sequences[i]});
    PackedAttention packed(alone);
    const at::Tensor expected = forward_hidden(model, alone, packed);
    const at::Tensor got =
        hidden.index_select(0, at::tensor(rows_of(tree, i, sequences[i].size()), at::kLong));
    // Sums in another order: fp32 rounding of values around 1.
    EXPECT_LT((got - expected).abs().max().item<double>(),
              2e-5 * expected.abs().max().item<double>())
        << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, PrefixTreeOfFamily,
                         ::testing::Values("llama-bias", "mistral-window", "gemma2", "gemma3-text",
                                           "qwen3"),
                         [](const auto& tested) {
                           return corda::testing::test_name(tested.param);
                         });

}  // namespace
}  // namespace corda::model
