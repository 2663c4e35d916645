// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "report/series.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

namespace corda::report {

namespace {

// The places of the points that stand for the points [begin, end).
std::set<std::size_t> kept_of(const Series& series, std::size_t begin, std::size_t end) {
  std::set<std::size_t> kept = {begin, end - 1};
  std::size_t low = end;
  std::size_t high = end;
  std::size_t gap = end;
  for (std::size_t i = begin; i < end; ++i) {
    if (!std::isfinite(series.y[i])) {
      gap = i;
      continue;
    }
    if (low == end || series.y[i] < series.y[low]) low = i;
    if (high == end || series.y[i] > series.y[high]) high = i;
  }
  for (const std::size_t i : {low, high, gap}) {
    if (i < end) kept.insert(i);
  }
  return kept;
}

}  // namespace

Series thinned(const Series& series, std::size_t columns) {
  if (columns == 0 || series.size() <= 4 * columns) return series;
  const double low = series.x.front();
  const double width = (series.x.back() - low) / static_cast<double>(columns);
  const auto column_of = [&](std::size_t i) {
    return std::min(columns - 1, static_cast<std::size_t>((series.x[i] - low) / width));
  };
  Series kept;
  for (std::size_t begin = 0; begin < series.size();) {
    std::size_t end = begin + 1;
    while (end < series.size() && column_of(end) == column_of(begin)) ++end;
    for (const std::size_t i : kept_of(series, begin, end)) kept.add(series.x[i], series.y[i]);
    begin = end;
  }
  return kept;
}

Series running_mean(const Series& series, std::size_t window) {
  std::vector<double> sums = {0};
  std::vector<std::size_t> counts = {0};
  for (const double value : series.y) {
    const bool finite = std::isfinite(value);
    sums.push_back(sums.back() + (finite ? value : 0));
    counts.push_back(counts.back() + (finite ? 1 : 0));
  }
  Series mean;
  const std::size_t before = window / 2;
  for (std::size_t i = 0; i < series.size(); ++i) {
    const std::size_t begin = i > before ? i - before : 0;
    const std::size_t end = std::min(series.size(), i + (window - before));
    const std::size_t count = counts[end] - counts[begin];
    mean.add(series.x[i], count == 0 ? std::numeric_limits<double>::quiet_NaN()
                                     : (sums[end] - sums[begin]) / static_cast<double>(count));
  }
  return mean;
}

}  // namespace corda::report
