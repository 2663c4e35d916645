// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "report/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "corda/card/evaluations.h"
#include "corda/core/error.h"
#include "corda/core/text.h"

namespace corda::report {

using core::concat;
using core::Json;

namespace {

constexpr std::size_t kMostNamed = 5;  // lines
constexpr const char* kByKind = "forgetting_by_kind";

std::optional<double> value_of(const Json& value) {
  if (value.is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (value.is_number()) return value.get<double>();
  return std::nullopt;
}

// Why a line is no step; "" where it is one.
std::string why_no_step(const Json& line) {
  if (line.is_discarded()) return "it is no JSON";
  if (!line.is_object()) return "it is no JSON object";
  if (!line.contains("step") || !line["step"].is_number()) return "it has no number 'step'";
  return "";
}

void cut_from(double step, std::map<std::string, Series>& metrics) {
  for (auto& [key, series] : metrics) {
    while (!series.x.empty() && series.x.back() >= step) {
      series.x.pop_back();
      series.y.pop_back();
    }
  }
}

void add_numbers(double step, const Json& object, std::map<std::string, Series>& metrics) {
  for (const auto& [key, value] : object.items()) {
    if (key == "step") continue;
    if (const auto found = value_of(value)) metrics[key].add(step, *found);
  }
}

}  // namespace

void read_metrics(const fs::path& path, Run& run) {
  const std::string text = core::read_file(path);
  std::size_t number = 0;
  std::size_t bad = 0;
  double last = -std::numeric_limits<double>::infinity();
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line(text.data() + begin, end - begin);
    const bool whole = end < text.size();
    begin = end + 1;
    ++number;
    if (core::trim(line).empty()) continue;
    const Json step = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (const std::string why = why_no_step(step); !why.empty()) {
      if (whole && ++bad <= kMostNamed)
        run.problems.push_back(concat(path.string(), ":", number, ": ", why,
                                      ", where a step was expected; the line is left out"));
      continue;
    }
    const double at = step["step"].get<double>();
    if (at <= last) {
      cut_from(at, run.metrics);
      cut_from(at, run.gauge_by_kind);
      run.resumed.push_back(at - 1);
    }
    last = at;
    add_numbers(at, step, run.metrics);
    if (step.contains(kByKind) && step[kByKind].is_object())
      add_numbers(at, step[kByKind], run.gauge_by_kind);
  }
  if (const auto lowest = card::read_evaluations(path).lowest) run.lowest_evaluation = lowest->loss;
  if (bad > kMostNamed) {
    run.problems.push_back(concat(path.string(), ": ", bad - kMostNamed,
                                  " more lines that are no steps are left out"));
  }
}

}  // namespace corda::report
