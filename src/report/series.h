// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What is drawn as one line: values over steps, layers or indices.
#pragma once

#include <cstddef>
#include <vector>

namespace corda::report {

// Equally many of both; `x` ascends. A y that is not finite is a gap.
struct Series {
  std::vector<double> x;
  std::vector<double> y;

  std::size_t size() const { return x.size(); }
  void add(double at, double value) {
    x.push_back(at);
    y.push_back(value);
  }
};

// A line over `columns` columns of pixels looks the same through the points that are left: of each
// column the first and the last, the lowest and the highest (Jugel et al. 2014, M4), and one gap
// where it has any. So a single spike among 100 000 steps is still there.
Series thinned(const Series& series, std::size_t columns);

// The mean of the finite values among the `window` points around each (fewer at the ends).
Series running_mean(const Series& series, std::size_t window);

}  // namespace corda::report
