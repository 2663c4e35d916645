// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "corda/core/error.h"
#include "corda/core/quantity.h"
#include "corda/core/text.h"
#include "report/sections.h"

namespace corda::report {

using core::concat;

namespace {

constexpr std::size_t kSmoothedFrom = 200;  // points of a line
constexpr std::size_t kWindows = 50;        // of a smoothed line

// How a metric is drawn.
struct Drawn {
  const char* key;
  const char* title;
  const char* y_label;
  double factor = 1;
  bool smooth = false;
  bool logarithmic = false;  // where the values span two decades
  bool from_zero = false;
  bool dotted = false;
};

constexpr std::array<Drawn, 8> kDrawn = {{
    {"loss", "Training loss", "nats a token", 1, true, false, false, false},
    {"eval_loss", "Evaluation loss", "nats a token", 1, false, false, false, true},
    {"forgetting", "Forgetting gauge F", "F", 1, false, false, true, false},
    {"lr", "Learning rate", "rate", 1, false, false, true, false},
    {"grad_norm", "Gradient norm, before clipping", "norm", 1, true, true, false, false},
    {"tokens_per_second", "Throughput", "tokens a second", 1, true, false, true, false},
    {"utilisation", "Use of the GPU's 16-bit peak", "%", 100, true, false, true, false},
    {"peak_memory_bytes", "Peak memory", "GB", 1e-9, false, false, true, false},
}};

// Members of a step that make no curve.
const std::set<std::string> kNotDrawn = {"epoch", "tokens", "supervised_tokens",
                                         "supervised_share"};

bool spans_decades(const Chart& chart) {
  double low = 0;
  double high = 0;
  for (const Line& line : chart.lines) {
    for (const double y : line.points.y) {
      if (!std::isfinite(y)) continue;
      if (y <= 0) return false;
      low = low == 0 ? y : std::min(low, y);
      high = std::max(high, y);
    }
  }
  return high > 100 * low;
}

Series scaled(Series series, double factor) {
  for (double& y : series.y) y *= factor;
  return series;
}

// The raw values, and where there are many of them their running mean in front.
void add_lines(const Run& run, Ink ink, const Series& series, const Drawn& drawn, bool many_runs,
               Chart& chart) {
  const bool smooth = drawn.smooth && series.size() >= kSmoothedFrom;
  Line line{.label = run.name, .ink = ink, .points = series, .dotted = drawn.dotted};
  if (!smooth) {
    chart.lines.push_back(std::move(line));
    return;
  }
  const std::size_t window = series.size() / kWindows;
  Line mean = line;
  mean.points = running_mean(series, window);
  chart.note = concat("Bold: the mean of the ", window, " steps around each",
                      many_runs ? "." : "; faint: every step.");
  line.ink.faint = true;
  if (!many_runs) chart.lines.insert(chart.lines.begin(), std::move(line));
  chart.lines.push_back(std::move(mean));
}

// Marks where runs were resumed, if there are few runs: in a chart of many they would be too many
// lines.
void add_marks(const std::vector<Run>& runs, Chart& chart) {
  for (const Run& run : runs)
    chart.marks.insert(chart.marks.end(), run.resumed.begin(), run.resumed.end());
  if (!chart.marks.empty())
    chart.note += concat(chart.note.empty() ? "" : " ", "Dotted upright: resumed there.");
}

std::optional<Chart> chart_of(const std::vector<Run>& runs, const Colouring& colouring,
                              const Drawn& drawn) {
  Chart chart{.title = drawn.title, .x_label = "step", .y_label = drawn.y_label};
  bool any = false;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const auto found = runs[i].metrics.find(drawn.key);
    if (found == runs[i].metrics.end() || found->second.size() == 0) continue;
    const Series series = scaled(found->second, drawn.factor);
    any = any || std::any_of(series.y.begin(), series.y.end(), [](double y) { return y != 0; });
    add_lines(runs[i], colouring.of[i], series, drawn, colouring.by_group, chart);
  }
  // A card's use of its peak is 0 where the peak is not known.
  if (chart.lines.empty() || (!any && std::string_view(drawn.key) == "utilisation"))
    return std::nullopt;
  chart.from_zero = drawn.from_zero;
  chart.logarithmic = drawn.logarithmic && spans_decades(chart);
  if (!colouring.by_group) add_marks(runs, chart);
  return chart;
}

std::string optional_text(const std::optional<double>& value) {
  return value ? core::four_digits(*value) : "-";
}

double sum_of(const Run& run, const std::string& key) {
  const auto found = run.metrics.find(key);
  double sum = 0;
  if (found == run.metrics.end()) return sum;
  for (const double value : found->second.y) sum += std::isfinite(value) ? value : 0;
  return sum;
}

std::string median_of(const Run& run, const std::string& key) {
  const auto found = run.metrics.find(key);
  if (found == run.metrics.end()) return "-";
  std::vector<double> values = found->second.y;
  std::erase_if(values, [](double value) { return !std::isfinite(value); });
  if (values.empty()) return "-";
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return core::grouped(std::llround(*middle));
}

std::string state_of(const Run& run) {
  const auto steps = run.metrics.find("loss");
  const bool none = steps == run.metrics.end() || steps->second.size() == 0;
  const std::string state = run.failed ? "failed" : run.finished ? "finished" : "unfinished";
  if (none) return run.finished || run.failed ? state : "no steps";
  return concat(state, ", ", core::grouped(std::llround(steps->second.x.back())),
                steps->second.x.back() == 1 ? " step" : " steps");
}

}  // namespace

Section summary(const std::vector<Run>& runs) {
  Table table{.head = {"run", "method", "state", "rate", "seed", "last loss", "evaluation loss",
                       "lowest", "tokens", "tokens/s, median", "peak memory"},
              .texts = 3};
  for (const Run& run : runs) {
    const auto memory = last_of(run, "peak_memory_bytes");
    table.rows.push_back(
        {run.name, run.method, state_of(run), run.rate ? core::four_digits(*run.rate) : "-",
         run.seed, optional_text(last_of(run, "loss")), optional_text(last_of(run, "eval_loss")),
         optional_text(run.lowest_evaluation), core::grouped(std::llround(sum_of(run, "tokens"))),
         median_of(run, "tokens_per_second"),
         memory ? core::size_text(std::llround(*memory)) : "-"});
  }
  return {.title = "Runs", .blocks = {std::move(table)}};
}

Section curves(const std::vector<Run>& runs, const Colouring& colouring) {
  Section section{.title = "Training"};
  section.blocks.emplace_back(colouring.legend);
  std::set<std::string> others;
  for (const Run& run : runs) {
    for (const auto& [key, series] : run.metrics)
      if (!kNotDrawn.contains(key)) others.insert(key);
  }
  for (const Drawn& drawn : kDrawn) {
    others.erase(drawn.key);
    if (auto chart = chart_of(runs, colouring, drawn)) section.blocks.emplace_back(*chart);
  }
  for (const std::string& key : others) {
    std::string title = key;
    std::replace(title.begin(), title.end(), '_', ' ');
    const Drawn drawn{.key = key.c_str(), .title = title.c_str(), .y_label = title.c_str()};
    if (auto chart = chart_of(runs, colouring, drawn)) section.blocks.emplace_back(*chart);
  }
  if (section.blocks.size() == 1) section.blocks = {Paragraph{"No run has made a step."}};
  return section;
}

}  // namespace corda::report
