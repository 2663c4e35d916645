// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "report/axis.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "corda/core/text.h"

namespace corda::report {

namespace {

constexpr double kMostSteps = 6;

// 1, 2 or 5 times a power of ten, so that at most kMostSteps of it make `span`.
double step_of(double span) {
  const double power = std::pow(10, std::floor(std::log10(span / kMostSteps)));
  for (const double factor : {1, 2, 5}) {
    if (span / (factor * power) <= kMostSteps) return factor * power;
  }
  return 10 * power;
}

// A tick's number with as many decimals as its step needs; thousands as k, M, G.
std::string tick_text(double value, double step) {
  const double largest = std::max(std::abs(value), step);
  if (largest >= 1e15 || step < 1e-5) {
    std::array<char, 32> text;
    std::snprintf(text.data(), text.size(), "%.3g", value);
    return text.data();
  }
  std::string unit;
  for (const auto& [size, name] : {std::pair{1e9, "G"}, {1e6, "M"}, {1e3, "k"}}) {
    if (std::abs(value) >= size && step >= size / 1000 && std::abs(value) >= 10000) {
      value /= size;
      step /= size;
      unit = name;
      break;
    }
  }
  const int decimals = std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)));
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), "%.*f", decimals, value);
  return text.data() + unit;
}

}  // namespace

Axis::Axis(double low, double high, bool logarithmic, bool round, double least_step)
    : logarithmic_(logarithmic), low_(low), high_(high) {
  if (logarithmic) {
    double decade = std::floor(std::log10(low));
    const double last = std::ceil(std::log10(high));
    if (round || low == high) {
      low_ = std::pow(10, decade);
      high_ = std::pow(10, std::max(last, decade + 1));
    }
    const double every = std::max(1.0, std::ceil((last - decade) / kMostSteps));
    for (; decade <= last || ticks_.size() < 2; decade += every) {
      const double value = std::pow(10, decade);
      ticks_.push_back({value, core::format_double(value)});
    }
    return;
  }
  if (low == high) {
    const double around = low == 0 ? 1 : std::abs(low) * 0.05;
    low_ -= around;
    high_ += around;
  }
  const double step = std::max(least_step, step_of(high_ - low_));
  if (round) {
    low_ = std::floor(low_ / step + 1e-9) * step;
    high_ = std::ceil(high_ / step - 1e-9) * step;
  }
  // Adding zero makes a negative zero positive, which would be written with its sign.
  for (double i = std::ceil(low_ / step - 1e-9) + 0.0; i * step <= high_ + 1e-9 * step; ++i)
    ticks_.push_back({i * step, tick_text(i * step, step)});
}

double Axis::scaled(double value) const { return logarithmic_ ? std::log10(value) : value; }

double Axis::place(double value) const {
  return (scaled(value) - scaled(low_)) / (scaled(high_) - scaled(low_));
}

}  // namespace corda::report
