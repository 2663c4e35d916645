// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "decompose/report.h"

#include <algorithm>
#include <cmath>

#include "corda/core/error.h"

namespace corda::decompose {

using core::concat;
using Reports = std::map<std::string, adapter::LayerReport>;

namespace {

void report_redone(const Reports& reports, core::Reporter& reporter) {
  std::int64_t redone = 0;
  std::string example;
  for (const auto& [module, report] : reports) {
    if (report.refused.empty()) continue;
    if (redone++ == 0) example = concat(module, ": ", report.refused);
  }
  if (redone == 0) return;
  reporter.info(concat(redone, " of ", reports.size(),
                       " layers were done again by the exact route, which costs time alone: the "
                       "fast one did not prove its result (",
                       example, redone > 1 ? "; the others' reasons stand in corda.json)" : ")"));
}

void report_ranks(const Reports& reports, std::int64_t layers, core::Reporter& reporter) {
  const auto [least, most] = std::minmax_element(
      reports.begin(), reports.end(),
      [](const auto& a, const auto& b) { return a.second.rank < b.second.rank; });
  const std::int64_t without = layers - static_cast<std::int64_t>(reports.size());
  if (without == 0 && least->second.rank == most->second.rank) return;
  std::string line = concat("ranks go from ", least->second.rank, " (", least->first, ") to ",
                            most->second.rank, " (", most->first, ")");
  if (without > 0)
    line += concat("; ", without, " of ", layers, " layers got none and have no adapter");
  reporter.info(line);
}

void warn_of_components_without_weight(const Reports& reports, core::Reporter& reporter) {
  std::int64_t layers = 0;
  std::int64_t components = 0;
  Reports::const_iterator worst = reports.end();
  for (auto it = reports.begin(); it != reports.end(); ++it) {
    const std::int64_t here = it->second.without_weight;
    if (here == 0) continue;
    ++layers;
    components += here;
    if (worst == reports.end() || here > worst->second.without_weight) worst = it;
  }
  if (layers == 0) return;
  reporter.warn(concat(layers, " of ", reports.size(),
                       " layers have a weight of too low a rank: ", components,
                       " of their components have no weight, start at zero and cannot learn (",
                       worst->second.without_weight, " of ", worst->second.rank, " of ",
                       worst->first, layers > 1 ? "; corda.json has the others)" : ")"));
}

}  // namespace

void warn_of_few_tokens(const std::vector<PlannedSite>& sites, const std::string& what,
                        const std::function<std::int64_t(const PlannedSite&)>& tokens,
                        const std::string& advice, core::Reporter& reporter) {
  const auto missing = [&](const PlannedSite& site) {
    return site.layers.front().in_features - tokens(site);
  };
  std::int64_t count = 0;
  const PlannedSite* worst = nullptr;
  for (const auto& site : sites) {
    if (missing(site) <= 0) continue;
    ++count;
    if (worst == nullptr || missing(site) > missing(*worst)) worst = &site;
  }
  if (count == 0) return;
  reporter.warn(concat(
      what, " of ", count, " of ", sites.size(),
      " inputs saw fewer tokens than the input has features (", worst->name, ": ", tokens(*worst),
      " of ", worst->layers.front().in_features,
      "), so directions that no token showed are told apart by the damping alone; ", advice));
}

void report_layers(const Reports& reports, std::int64_t layers, core::Reporter& reporter) {
  report_ranks(reports, layers, reporter);
  report_redone(reports, reporter);
  if (const double bound = worst_bound(reports); bound != 1)
    reporter.info(concat("every layer is proved to be within a factor ", bound, " of the optimum"));
  warn_of_components_without_weight(reports, reporter);
}

double worst_bound(const Reports& reports) {
  double worst = 1;
  for (const auto& [module, report] : reports) {
    if (!(std::abs(report.bound - 1) <= std::abs(worst - 1))) worst = report.bound;
  }
  return worst;
}

}  // namespace corda::decompose
