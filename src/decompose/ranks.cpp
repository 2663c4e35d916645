// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "decompose/ranks.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <queue>
#include <utility>

#include "decompose/mode_of.h"

namespace corda::decompose {

namespace {

using Ranks = std::map<std::string, std::int64_t>;

std::int64_t parameters_of(const Claim& claim, std::int64_t rank) {
  return rank * (claim.out_features + claim.in_features);
}

// Calls `take(claim)` for the layer with the least score, which it asks for anew, until that
// returns false. `score` is infinite for a layer that takes no more.
void take_in_turn(const std::vector<Claim>& claims,
                  const std::function<double(const Claim&)>& score,
                  const std::function<bool(const Claim&)>& take) {
  // score and place: of equal scores the earlier layer comes first
  using Turn = std::pair<double, std::size_t>;
  std::priority_queue<Turn, std::vector<Turn>, std::greater<>> turns;
  const auto queue = [&](std::size_t i) {
    if (const double now = score(claims[i]); std::isfinite(now)) turns.emplace(now, i);
  };
  for (std::size_t i = 0; i < claims.size(); ++i) queue(i);
  while (!turns.empty()) {
    const std::size_t i = turns.top().second;
    turns.pop();
    if (!take(claims[i])) return;
    queue(i);
  }
}

double score_of(const Claim& claim, double value, double others) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  return others > 0 ? claim.compactness * value / others : kNever;
}

// kpa: every layer begins with one component, and the budget lets them grow.
Ranks grown(const std::vector<Claim>& claims, std::int64_t budget) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  Ranks ranks;
  std::map<std::string, double> others;  // what the components that are not taken sum up to
  for (const Claim& claim : claims) {
    ranks[claim.module] = 1;
    others[claim.module] = claim.sum_of_values - claim.values.front();
    budget -= parameters_of(claim, 1);
  }
  const auto score = [&](const Claim& claim) {
    const auto rank = static_cast<std::size_t>(ranks.at(claim.module));
    if (rank == claim.values.size()) return kNever;
    return score_of(claim, claim.values[rank - 1], others.at(claim.module));
  };
  take_in_turn(claims, score, [&](const Claim& claim) {
    budget -= parameters_of(claim, 1);
    if (budget < 0) return false;
    std::int64_t& rank = ranks.at(claim.module);
    others.at(claim.module) -= claim.values[static_cast<std::size_t>(rank++)];
    return true;
  });
  return ranks;
}

// ipa: every layer begins with all components, and the budget makes them shrink.
Ranks shrunk(const std::vector<Claim>& claims, std::int64_t budget) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  Ranks ranks;
  std::map<std::string, double> left;  // what the components that are left sum up to
  std::int64_t parameters = 0;
  for (const Claim& claim : claims) {
    ranks[claim.module] = static_cast<std::int64_t>(claim.values.size());
    for (const double value : claim.values) left[claim.module] += value;
    parameters += parameters_of(claim, ranks.at(claim.module));
  }
  const auto last = [&](const Claim& claim) {
    return claim.values[static_cast<std::size_t>(ranks.at(claim.module)) - 1];
  };
  const auto score = [&](const Claim& claim) {
    if (ranks.at(claim.module) == 1) return kNever;
    return score_of(claim, last(claim), left.at(claim.module) - last(claim));
  };
  if (parameters <= budget) return ranks;
  take_in_turn(claims, score, [&](const Claim& claim) {
    left.at(claim.module) -= last(claim);
    --ranks.at(claim.module);
    parameters -= parameters_of(claim, 1);
    return parameters > budget;
  });
  return ranks;
}

}  // namespace

std::int64_t components_of(const DecomposeSettings& settings, const PlannedLayer& layer) {
  if (ranks_of(settings) == "equal") return settings.rank;
  const auto most =
      static_cast<std::int64_t>(std::nearbyint(static_cast<double>(settings.rank) * settings.rho));
  return std::min({most, layer.out_features, layer.in_features});
}

Ranks ranks_by_share(const std::vector<Claim>& claims, std::int64_t rank) {
  struct Entry {
    double share;
    const Claim* claim;
  };
  std::vector<Entry> entries;
  Ranks ranks;
  for (const Claim& claim : claims) {
    ranks[claim.module] = 0;
    for (const double value : claim.values) {
      // For singular values the shares are the squares, but these have the same order.
      entries.push_back({claim.total > 0 ? value / claim.total : 0, &claim});
    }
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.share > b.share; });
  const auto budget = static_cast<std::size_t>(rank) * claims.size();
  entries.resize(std::min(entries.size(), budget));
  for (const Entry& entry : entries) ++ranks.at(entry.claim->module);
  return ranks;
}

Ranks ranks_by_compactness(const std::vector<Claim>& claims, std::int64_t rank,
                           bool smallest_first) {
  std::int64_t budget = 0;
  for (const Claim& claim : claims) budget += parameters_of(claim, rank);
  return smallest_first ? grown(claims, budget) : shrunk(claims, budget);
}

Ranks share_out_ranks(const DecomposeSettings& settings, const std::vector<PlannedSite>& sites,
                      const std::map<std::string, LayerNote>& notes) {
  const std::string rule = ranks_of(settings);
  if (rule == "equal") return {};
  std::vector<Claim> claims;
  for (const auto& site : sites) {
    for (const auto& layer : site.layers) {
      const LayerNote& note = notes.at(layer.module);
      claims.push_back({.module = layer.module,
                        .out_features = layer.out_features,
                        .in_features = layer.in_features,
                        .values = note.values,
                        .total = note.report.total_energy,
                        .sum_of_values = note.sum_of_values,
                        .compactness = note.report.compactness.value_or(0)});
    }
  }
  const Mode& mode = mode_of(settings);
  return rule == "explained" ? ranks_by_share(claims, settings.rank)
                             : ranks_by_compactness(claims, settings.rank, !mode.takes_largest);
}

}  // namespace corda::decompose
