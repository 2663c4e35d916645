// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <set>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "report/sections.h"

namespace corda::report {

using core::concat;

namespace {

constexpr std::size_t kMostRuns = 4;   // whose layers are shown, if there are several groups
constexpr std::size_t kMostDots = 40;  // of a line

// "q_proj" of block 3 is ("q_proj", 3); a layer outside the blocks has the number behind the last.
struct Place {
  std::string kind;
  double block = 0;
};

Place place_of(const std::string& module) {
  Place place{.kind = std::string(core::last_part(module))};
  for (const auto& part : core::split(module, '.')) {
    if (const auto number = core::parse_int(part)) place.block = static_cast<double>(*number);
  }
  return place;
}

using ValueOf = std::optional<double> (*)(const Layer&);

std::optional<double> energy_share(const Layer& layer) {
  if (!layer.energy || layer.total_energy <= 0) return std::nullopt;
  return *layer.energy / layer.total_energy;
}

std::optional<double> update_norm(const Layer& layer) { return layer.update_norm; }

std::optional<double> forgetting(const Layer& layer) { return layer.forgetting; }

// The last parts of the layers' names, in the order in which they come first, and behind them those
// of which the gauge alone tells.
std::vector<std::string> kinds_of(const Run& run) {
  std::vector<std::string> names;
  const auto add = [&](const std::string& name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  for (const Layer& layer : run.layers) add(place_of(layer.module).kind);
  for (const auto& [kind, series] : run.gauge_by_kind) add(kind);
  return names;
}

Series over_blocks(const Run& run, const std::string& kind, ValueOf value_of) {
  std::map<double, double> values;
  for (const Layer& layer : run.layers) {
    const Place place = place_of(layer.module);
    const auto value = value_of(layer);
    if (place.kind == kind && value) values[place.block] = *value;
  }
  Series series;
  for (const auto& [block, value] : values) series.add(block, value);
  return series;
}

bool all_positive(const Chart& chart) {
  return std::all_of(chart.lines.begin(), chart.lines.end(), [](const Line& line) {
    return std::all_of(line.points.y.begin(), line.points.y.end(), [](double y) { return y > 0; });
  });
}

void add_by_block(const Run& run, const std::string& title, const std::string& y_label,
                  ValueOf value_of, Section& section) {
  Chart chart{.title = title, .x_label = "block", .y_label = y_label, .counts = true};
  std::size_t number = 0;
  for (const std::string& kind : kinds_of(run)) {
    const Series series = over_blocks(run, kind, value_of);
    if (series.size() > 0)
      chart.lines.push_back({.label = kind,
                             .ink = {.number = number},
                             .points = series,
                             .dotted = series.size() <= kMostDots});
    ++number;
  }
  if (chart.lines.empty()) return;
  chart.logarithmic = all_positive(chart);
  section.blocks.emplace_back(std::move(chart));
}

// The gauge of each kind over the steps, and of each layer where it was read last.
void add_gauge(const Run& run, Section& section) {
  Chart chart{.title = "Forgetting gauge F by kind of layer",
              .x_label = "step",
              .y_label = "F",
              .from_zero = true};
  std::size_t number = 0;
  for (const std::string& kind : kinds_of(run)) {
    const Ink ink{.number = number++};
    const auto found = run.gauge_by_kind.find(kind);
    if (found == run.gauge_by_kind.end() || found->second.size() == 0) continue;
    chart.lines.push_back({.label = kind,
                           .ink = ink,
                           .points = found->second,
                           .dotted = found->second.size() <= kMostDots});
  }
  if (!chart.lines.empty()) section.blocks.emplace_back(std::move(chart));
  const std::string after =
      run.gauged_after ? concat(" after step ", *run.gauged_after) : std::string();
  add_by_block(run, "Forgetting gauge F of each layer" + after, "F", forgetting, section);
}

// Whether anything is known of the run's layers.
bool has_layers(const Run& run) {
  return !run.gauge_by_kind.empty() ||
         std::any_of(run.layers.begin(), run.layers.end(), [](const Layer& layer) {
           return energy_share(layer) || layer.update_norm || layer.forgetting;
         });
}

// Draws the singular values of the updates for each kind of layer: each block faint, their mean in
// front.
void add_spectra(const Run& run, Section& section) {
  std::size_t number = 0;
  for (const std::string& kind : kinds_of(run)) {
    const Ink ink{.number = number++};
    Chart chart{.title = concat("Singular values of the update, ", kind),
                .x_label = "index",
                .y_label = "singular value",
                .counts = true};
    std::vector<double> sums;
    std::vector<double> counts;
    for (const Layer& layer : run.layers) {
      const Place place = place_of(layer.module);
      if (place.kind != kind || layer.singular_values.empty()) continue;
      Line line{.label = concat("block ", place.block), .ink = {ink.number, /*faint=*/true}};
      for (std::size_t i = 0; i < layer.singular_values.size(); ++i) {
        if (i == sums.size()) {
          sums.push_back(0);
          counts.push_back(0);
        }
        sums[i] += layer.singular_values[i];
        ++counts[i];
        line.points.add(static_cast<double>(i + 1), layer.singular_values[i]);
      }
      chart.lines.push_back(std::move(line));
    }
    if (chart.lines.empty()) continue;
    Line mean{.label = "mean of the blocks", .ink = ink};
    for (std::size_t i = 0; i < sums.size(); ++i)
      mean.points.add(static_cast<double>(i + 1), sums[i] / counts[i]);
    chart.lines.push_back(std::move(mean));
    chart.from_zero = true;
    chart.note = "Faint: each block; bold: their mean.";
    section.blocks.emplace_back(std::move(chart));
  }
}

Legend legend_of(const Run& run) {
  Legend legend;
  for (const std::string& kind : kinds_of(run))
    legend.entries.push_back({kind, {.number = legend.entries.size()}});
  return legend;
}

}  // namespace

Section layers(const std::vector<Run>& runs, const Groups& groups) {
  Section section{.title = "Layers"};
  std::vector<const Run*> shown;
  std::set<std::size_t> seen;
  std::size_t left_out = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (!has_layers(runs[i])) continue;
    if (runs.size() > kMostRuns && !seen.insert(groups.of[i]).second)
      ++left_out;
    else
      shown.push_back(&runs[i]);
  }
  if (shown.empty()) return section;
  if (left_out > 0) {
    section.blocks.emplace_back(Paragraph{
        concat("The first run of each method; ", left_out, " more runs have such figures.")});
  }
  for (const Run* run : shown) {
    section.blocks.emplace_back(Heading{run->name});
    section.blocks.emplace_back(legend_of(*run));
    add_by_block(*run, "Energy of the directions that the adapter began with",
                 "share of the layer's", energy_share, section);
    add_gauge(*run, section);
    add_by_block(*run, "Size of the update", "Frobenius norm", update_norm, section);
    add_spectra(*run, section);
  }
  return section;
}

}  // namespace corda::report
