// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "decompose/ranks.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "decompose/small_model.h"

namespace corda::decompose {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

Claim claim(std::string module, std::vector<double> values, double total) {
  return {.module = std::move(module),
          .out_features = 10,
          .in_features = 10,
          .values = std::move(values),
          .total = total};
}

TEST(RanksByShare, TheLargestSharesOfAllLayersWin) {
  // Shares 0.5, 0.3, 0.1; 0.4, 0.02; 0.05, 0.04: of 6 places the first list takes 3.
  const std::vector<Claim> claims = {claim("a", {5, 3, 1}, 10), claim("b", {40, 2}, 100),
                                     claim("c", {0.05, 0.04}, 1)};
  EXPECT_THAT(ranks_by_share(claims, 2), ElementsAre(Pair("a", 3), Pair("b", 1), Pair("c", 2)));
  // Of 3 places c gets none.
  EXPECT_THAT(ranks_by_share(claims, 1), ElementsAre(Pair("a", 2), Pair("b", 1), Pair("c", 0)));
}

TEST(RanksByShare, OfEqualSharesTheEarlierLayersGoFirst) {
  const std::vector<Claim> claims = {claim("q", {4, 1}, 10), claim("k", {4, 1}, 10),
                                     claim("v", {4, 1}, 10), claim("z", {9, 0}, 10)};
  EXPECT_THAT(ranks_by_share(claims, 1),
              ElementsAre(Pair("k", 1), Pair("q", 1), Pair("v", 1), Pair("z", 1)));
  const std::vector<Claim> two = {claim("q", {4, 4}, 10), claim("k", {4, 4}, 10)};
  EXPECT_THAT(ranks_by_share(two, 1), ElementsAre(Pair("k", 0), Pair("q", 2)));
}

TEST(RanksByShare, WithoutEnergyThereIsNoShare) {
  EXPECT_THAT(ranks_by_share({claim("a", {0, 0}, 0), claim("b", {1, 1}, 4)}, 1),
              ElementsAre(Pair("a", 0), Pair("b", 2)));
}

Claim compact(std::string module, double compactness, std::vector<double> values, double sum,
              std::int64_t width = 10) {
  return {.module = std::move(module),
          .out_features = width,
          .in_features = width,
          .values = std::move(values),
          .sum_of_values = sum,
          .compactness = compactness};
}

TEST(RanksByCompactness, KpaGrowsTheLayerWithTheLeastScore) {
  // Scores 1 x 1 / 19, then 1 x 2 / 17, 1 x 3 / 14 of a; 2 x 1 / 9 and 2 x 2 / 7 of b. Of 4
  // components two are theirs at once; the others go to a, whose third costs 0.118 against 0.222.
  const std::vector<Claim> claims = {compact("a", 1, {1, 2, 3, 4}, 20),
                                     compact("b", 2, {1, 2, 3, 4}, 10)};
  EXPECT_THAT(ranks_by_compactness(claims, 2, true), ElementsAre(Pair("a", 3), Pair("b", 1)));
  // The fourth of a would cost 0.214, still the least; then it has no more.
  EXPECT_THAT(ranks_by_compactness(claims, 3, true), ElementsAre(Pair("a", 4), Pair("b", 2)));
}

TEST(RanksByCompactness, ParametersAreWhatIsShared) {
  // b is five times as wide: budget 2 x (20 + 100) = 240; both have one, 120; a's three more cost
  // 60 and are the least; b's next would need 100 of the 60 that are left.
  const std::vector<Claim> claims = {compact("a", 1, {1, 1, 1, 1}, 100),
                                     compact("b", 9, {1, 1, 1, 1}, 10, 50)};
  EXPECT_THAT(ranks_by_compactness(claims, 2, true), ElementsAre(Pair("a", 4), Pair("b", 1)));
}

TEST(RanksByCompactness, IpaFiltersTheLayerWithTheLeastScoreUntilItFits) {
  // Scores of the next to go: a 1 x 1 / 15 = 0.07, 1 x 3 / 12 = 0.25; b 1 x 2 / 8 = 0.25. From 4 +
  // 4 to 6: a goes first, then of equal scores the earlier layer.
  const std::vector<Claim> claims = {compact("a", 1, {7, 5, 3, 1}, 16),
                                     compact("b", 1, {4, 2, 2, 2}, 10)};
  EXPECT_THAT(ranks_by_compactness(claims, 3, false), ElementsAre(Pair("a", 2), Pair("b", 4)));
  EXPECT_THAT(ranks_by_compactness(claims, 4, false), ElementsAre(Pair("a", 4), Pair("b", 4)));
  // One component stays in every layer.
  EXPECT_THAT(ranks_by_compactness(claims, 1, false), ElementsAre(Pair("a", 1), Pair("b", 1)));
}

class Ranks : public Decompose {
 protected:
  // Covariances whose sites differ in how fast they fall.
  fs::path uneven() const {
    const fs::path directory = scratch_.path() / "uneven";
    io::CovarianceWriter writer(directory, io::CovarianceStorage::kFull);
    double steepness = 0;
    std::uint64_t seed = 50;
    for (const auto& site : sites()) {
      const at::Tensor x =
          random_tensor({kTokens, site.width}, ++seed) * at::logspace(0, -steepness, site.width);
      writer.add(site.name, site.modules, kTokens, at::mm(x.t(), x));
      steepness += 0.5;
    }
    io::CovarianceManifest manifest;
    manifest.model = io::Checkpoint(model_).fingerprint();
    writer.finish(manifest);
    return directory;
  }
};

// The ranks are those of the rule in plain ATen; the layers keep their scale, their first rows and
// their energies; the file has patterns by whole names.
TEST_F(Ranks, EvaSharesThemOutByExplainedVariance) {
  DecomposeSettings s = settings();
  s.mode = "eva";
  s.alpha = 6;
  s.covariance = {uneven().string()};
  core::Reporter quiet;
  const DecomposeResult result = decompose(s, quiet);
  const adapter::Adapter found = adapter::read_adapter(s.out);

  std::vector<std::pair<double, std::string>> shares;  // of at most 6 components a layer
  std::map<std::string, at::Tensor> spectra;
  const io::CovarianceReader reader(s.covariance[0]);
  for (const auto& site : sites()) {
    for (const auto& module : site.modules) {
      const at::Tensor values = at::linalg_eigvalsh(reader.load(site.name).to(at::kDouble)).flip(0);
      spectra[module] = values;
      for (std::int64_t i = 0; i < 6; ++i)
        shares.emplace_back(-(values[i] / values.sum()).item<double>(), module);
    }
  }
  std::stable_sort(shares.begin(), shares.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::map<std::string, std::int64_t> expected;
  for (std::size_t i = 0; i < 3 * 14; ++i) ++expected[shares[i].second];

  std::map<std::string, std::int64_t> ranks;
  std::int64_t components = 0;
  for (const auto& [module, layer] : found.layers) {
    ranks[module] = layer.rank();
    components += layer.rank();
    EXPECT_EQ(found.scale_of(layer), 2.0) << module;
    EXPECT_EQ(found.reports.at(module).rank, layer.rank());
    const double energy = spectra.at(module).narrow(0, 0, layer.rank()).sum().item<double>();
    EXPECT_NEAR(found.reports.at(module).energy, energy, 1e-6 * energy);
  }
  EXPECT_EQ(ranks, expected);
  EXPECT_EQ(components, 3 * 14);
  const auto [least, most] = std::minmax_element(
      ranks.begin(), ranks.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  EXPECT_EQ(result.largest_rank, most->second);
  EXPECT_EQ(result.smallest_rank, least->second);
  EXPECT_GT(most->second, least->second + 1) << "or nothing was shared out";
  EXPECT_EQ(result.layers_without, 14 - static_cast<std::int64_t>(found.layers.size()));

  // Its rows are the first of those that equal ranks would have.
  DecomposeSettings wide = s;
  wide.out = (scratch_.path() / "wide").string();
  wide.rank = 6;
  wide.ranks = "equal";
  const adapter::Adapter whole = run(wide);
  for (const auto& [module, layer] : found.layers)
    EXPECT_TRUE(at::equal(layer.a, whole.layers.at(module).a.narrow(0, 0, layer.rank()))) << module;

  const core::Json config = core::read_json(fs::path(s.out) / "adapter_config.json");
  for (const auto& [module, rank] : ranks) {
    const bool own = config["rank_pattern"].contains(module);
    EXPECT_EQ(own, rank != 3);
    if (own) {
      EXPECT_EQ(config["rank_pattern"][module], rank);
      EXPECT_EQ(config["alpha_pattern"][module], 2 * rank);
    }
  }
}

TEST_F(Ranks, NoLayerGetsMoreThanRhoTimesTheRank) {
  DecomposeSettings s = settings();
  s.mode = "eva";
  s.covariance = {uneven().string()};
  s.rank = 2;
  s.rho = 1.25;  // 2.5 goes to the even 2
  core::Reporter quiet;
  EXPECT_EQ(decompose(s, quiet).largest_rank, 2);
  s.out = (scratch_.path() / "three").string();
  s.rho = 1.3;
  EXPECT_EQ(decompose(s, quiet).largest_rank, 3);
}

TEST_F(Ranks, RhoOfOneIsEqualRanks) {
  DecomposeSettings s = settings();
  s.mode = "eva";
  s.covariance = {uneven().string()};
  s.rho = 1;
  const adapter::Adapter found = run(s);
  ASSERT_EQ(found.layers.size(), 14U);
  for (const auto& [module, layer] : found.layers) EXPECT_EQ(layer.rank(), 3) << module;
  EXPECT_TRUE(core::read_json(fs::path(s.out) / "adapter_config.json")["rank_pattern"].empty());
}

// Where the start is subtracted both halves of the stored factors are cut.
TEST_F(Ranks, SharedOutRanksOfASubtractedStartChangeNothingAtTheStart) {
  struct Case {
    const char* mode;
    const char* ranks;
  };
  const std::string uneven_one = uneven().string();
  for (const Case& c :
       {Case{"ipa", "explained"}, Case{"ipa", "compact"}, Case{"kpa", "compact"},
        Case{"dual", "explained"}, Case{"sc", "explained"}, Case{"pissa", "explained"}}) {
    SCOPED_TRACE(core::concat(c.mode, " ", c.ranks));
    DecomposeSettings s = settings(core::concat(c.mode, c.ranks));
    s.covariance = {uneven_one};
    set_mode(s, c.mode, covariance_.string());
    s.ranks = c.ranks;
    const adapter::Adapter found = run(s);
    std::set<std::int64_t> ranks;
    std::int64_t parameters = 0;
    std::int64_t components = 0;
    for (const auto& [module, layer] : found.layers) {
      ranks.insert(layer.rank());
      components += layer.rank();
      parameters += layer.a.numel() + layer.b.numel();
      EXPECT_EQ(adapter::update_of(layer, 1).abs().max().item<float>(), 0.0F);
      if (!layer.subtracts_start() || std::string(c.mode) == "sc") continue;
      // U_r U_r^T W of fewer directions is still a projection of W.
      const at::Tensor product = at::mm(layer.b0, layer.a0).to(at::kDouble);
      const at::Tensor w = weight(module);
      EXPECT_LT((at::mm(product.t(), w) - at::mm(product.t(), product)).abs().max().item<double>(),
                1e-4);
    }
    EXPECT_GT(ranks.size(), 1U);
    // 2 x (4 x 24 + 3 x 32) at rank 3.
    const std::int64_t budget = 3 * 2 * (4 * 24 + 3 * 32);
    if (std::string(c.ranks) == "compact") {
      EXPECT_LE(parameters, budget);
      EXPECT_GT(parameters, budget - 32);
    } else {
      EXPECT_EQ(components, 3 * 14);
    }
  }
}

// A killed run shares out the same ranks as one that went through.
TEST_F(Ranks, AreTheSameAfterAKill) {
  DecomposeSettings s = settings("through");
  s.mode = "eva";
  s.covariance = {uneven().string()};
  const adapter::Adapter through = run(s);
  s.out = (scratch_.path() / "killed").string();
  struct Stops : core::Reporter {
    int left = 5;
    void advance(std::int64_t, std::string_view) override { --left; }
    bool stop_requested() const override { return left < 0; }
  } stops;
  EXPECT_THROW(decompose(s, stops), core::Interrupted);
  const adapter::Adapter again = run(s);
  ASSERT_EQ(again.layers.size(), through.layers.size());
  for (const auto& [module, layer] : again.layers)
    EXPECT_TRUE(at::equal(layer.a, through.layers.at(module).a)) << module;
}

}  // namespace
}  // namespace corda::decompose
