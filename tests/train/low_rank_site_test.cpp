// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/low_rank_site.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace corda::train {
namespace {

constexpr std::int64_t kIn = 12;

at::Tensor frozen_a(std::int64_t rank) { return at::rand({rank, kIn}); }

// Four rows; an undefined `a` means no adapter.
model::Linear linear(const at::Tensor& a, double scale = 2) {
  model::Linear result{.name = "", .weight = at::rand({4, kIn}), .bias = {}, .low_rank = {}};
  if (a.defined())
    result.low_rank = {.a = a, .b = at::rand({4, a.size(0)}), .magnitude = {}, .scale = scale};
  return result;
}

std::pair<std::size_t, std::int64_t> parts_and_columns(const std::vector<model::Linear>& linears) {
  std::vector<const model::Linear*> pointers;
  for (const model::Linear& one : linears) pointers.push_back(&one);
  const SiteLayout layout = layout_of(pointers);
  EXPECT_EQ(layout.part_of.size(), linears.size());
  EXPECT_EQ(layout.out, 4 * static_cast<std::int64_t>(linears.size()));
  return {layout.parts.size(), layout.rank};
}

TEST(SiteLayout, OneFrozenAOfAdjacentLayersTakesItsColumnsOnce) {
  using Result = std::pair<std::size_t, std::int64_t>;
  const at::Tensor a = frozen_a(5);  // which takes 8 columns
  EXPECT_EQ(parts_and_columns({linear(a), linear(a), linear(a)}), Result(1, 8));
  EXPECT_EQ(parts_and_columns({linear({}), linear(a), linear(a)}), Result(2, 8));
  // A layer between without an adapter: D must have no entries in its rows.
  EXPECT_EQ(parts_and_columns({linear(a), linear({}), linear(a)}), Result(3, 16));
  EXPECT_EQ(parts_and_columns({linear(a), linear(a), linear(frozen_a(9))}), Result(2, 24));
  // D holds one scale a part.
  EXPECT_EQ(parts_and_columns({linear(a, 2), linear(a, 1)}), Result(2, 16));
  // Trained factors go ways of their own, though they may start equal.
  const at::Tensor trained = frozen_a(5).set_requires_grad(true);
  EXPECT_EQ(parts_and_columns({linear(trained), linear(trained.detach().clone())}), Result(2, 16));
}

}  // namespace
}  // namespace corda::train
