// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// From values to places on an axis, and what is written beside it.
#pragma once

#include <string>
#include <vector>

namespace corda::report {

struct Tick {
  double value = 0;
  std::string text;
};

class Axis {
 public:
  // An axis over all values from `low` to `high`, widened to where ticks stand if `round`; of one
  // value alone it reaches to both sides. Ticks are `least_step` or more apart. Where it is
  // logarithmic `low` is above 0.
  Axis(double low, double high, bool logarithmic, bool round, double least_step = 0);

  // 0 at the low end, 1 at the high end.
  double place(double value) const;
  // Ascending, between two and about eight of them.
  const std::vector<Tick>& ticks() const { return ticks_; }

 private:
  double scaled(double value) const;

  bool logarithmic_;
  double low_;
  double high_;
  std::vector<Tick> ticks_;
};

}  // namespace corda::report
