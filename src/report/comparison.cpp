// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <set>

#include "corda/core/error.h"
#include "corda/core/quantity.h"
#include "report/sections.h"

namespace corda::report {

using core::concat;

namespace {

// One thing that was measured of every run.
struct Column {
  std::string name;
  std::string unit;
  bool is_loss = true;  // lower is better
  std::function<std::optional<double>(const Run&)> value_of;
  std::optional<double> base;
  int decimals = 4;

  std::string title() const { return concat(name, ", ", unit); }
};

// Perplexity and what has no score is its loss; tasks are their score, but as what is learnt they
// are the loss where it was measured, since that tells methods apart where scores do not.
bool shows_loss(const Measure& measure, bool as_task) {
  if (!measure.score || measure.task == "perplexity") return measure.nll.has_value();
  return as_task && measure.nll.has_value();
}

std::optional<double> value_of(const Measure& measure, bool loss) {
  return loss ? measure.nll : measure.score;
}

Column column_of(const std::string& name, const Measure& example, bool as_task,
                 const Compared& compared) {
  const bool loss = shows_loss(example, as_task);
  Column column{.name = name,
                .unit = loss ? "nats a token" : example.score_name,
                .is_loss = loss || example.score_name == "perplexity",
                .value_of =
                    [name, loss](const Run& run) {
                      const auto found = run.measures.find(name);
                      return found == run.measures.end() ? std::nullopt
                                                         : value_of(found->second, loss);
                    },
                .base = {}};
  const auto base = compared.base.find(name);
  if (base != compared.base.end()) column.base = value_of(base->second, loss);
  return column;
}

// The task's column first.
std::vector<Column> columns_of(const std::vector<Run>& runs, const Compared& compared) {
  std::map<std::string, Measure> examples;
  bool evaluated = false;
  bool gauged = false;
  for (const Run& run : runs) {
    examples.insert(run.measures.begin(), run.measures.end());
    evaluated = evaluated || last_of(run, "eval_loss");
    gauged = gauged || last_of(run, "forgetting");
  }
  std::vector<Column> columns;
  if (const auto task = examples.find(compared.task); task != examples.end()) {
    columns.push_back(column_of(task->first, task->second, true, compared));
  } else if (evaluated) {
    columns.push_back({.name = "evaluation loss",
                       .unit = "nats a token",
                       .value_of = [](const Run& run) { return last_of(run, "eval_loss"); },
                       .base = {}});
  }
  for (const auto& [name, measure] : examples) {
    if (name != compared.task) columns.push_back(column_of(name, measure, false, compared));
  }
  if (gauged) {
    columns.push_back({.name = "forgetting gauge",
                       .unit = "F",
                       .value_of = [](const Run& run) { return last_of(run, "forgetting"); },
                       .base = 0.0});
  }
  return columns;
}

// Runs that differ in their seeds alone.
struct Cell {
  std::size_t group = 0;
  double rate = 0;
  std::vector<const Run*> runs;
};

// The cells by group, each group's by ascending rate.
std::vector<Cell> cells_of(const std::vector<Run>& runs, const Groups& groups) {
  std::vector<Cell> cells;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const double rate = runs[i].rate.value_or(0);
    auto cell = std::find_if(cells.begin(), cells.end(), [&](const Cell& known) {
      return known.group == groups.of[i] && known.rate == rate;
    });
    if (cell == cells.end()) {
      cells.push_back({.group = groups.of[i], .rate = rate, .runs = {}});
      cell = std::prev(cells.end());
    }
    cell->runs.push_back(&runs[i]);
  }
  std::stable_sort(cells.begin(), cells.end(), [](const Cell& a, const Cell& b) {
    return a.group != b.group ? a.group < b.group : a.rate < b.rate;
  });
  return cells;
}

std::vector<double> values_of(const Cell& cell, const Column& column) {
  std::vector<double> values;
  for (const Run* run : cell.runs) {
    if (const auto value = column.value_of(*run)) values.push_back(*value);
  }
  return values;
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? std::numeric_limits<double>::quiet_NaN()
                        : sum / static_cast<double>(values.size());
}

std::string decimals(double value, int count) {
  std::array<char, 400> text;
  std::snprintf(text.data(), text.size(), "%.*f", count, value);
  return text.data();
}

// Percentages and perplexities need fewer than losses and shares do.
void choose_decimals(const std::vector<Run>& runs, std::vector<Column>& columns) {
  for (Column& column : columns) {
    for (const Run& run : runs)
      if (std::abs(column.value_of(run).value_or(0)) >= 10) column.decimals = 2;
  }
}

// Writes the mean, and where there are several values the largest minus the smallest.
std::string text_of(const std::vector<double>& values, int count) {
  if (values.empty()) return "-";
  const std::string mean = decimals(mean_of(values), count);
  if (values.size() == 1) return mean;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return concat(mean, " (", decimals(*high - *low, count), ")");
}

// The place of the best cell of each group by the task.
std::set<std::size_t> best_of(const std::vector<Cell>& cells, const Column& task) {
  std::map<std::size_t, std::size_t> best;
  const auto score = [&](std::size_t i) {
    const double mean = mean_of(values_of(cells[i], task));
    return task.is_loss ? -mean : mean;
  };
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (std::isnan(score(i))) continue;
    const auto known = best.find(cells[i].group);
    if (known == best.end() || score(i) > score(known->second)) best[cells[i].group] = i;
  }
  std::set<std::size_t> places;
  for (const auto& [group, place] : best) places.insert(place);
  return places;
}

Table table_of(const std::vector<Cell>& cells, const Groups& groups,
               const std::vector<Column>& columns) {
  Table table{.head = {"method", "rate", "runs"}};
  for (const Column& column : columns) table.head.push_back(column.title());
  const bool has_base = std::any_of(columns.begin(), columns.end(),
                                    [](const Column& column) { return column.base.has_value(); });
  if (has_base) {
    table.rows.push_back({"base model", "", ""});
    for (const Column& column : columns)
      table.rows.back().push_back(column.base ? decimals(*column.base, column.decimals) : "-");
  }
  const std::set<std::size_t> best = best_of(cells, columns.front());
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const Cell& cell = cells[i];
    table.rows.push_back(
        {groups.names[cell.group],
         concat(core::four_digits(cell.rate), best.contains(i) ? " \xE2\x97\x86" : ""),
         std::to_string(cell.runs.size())});
    for (const Column& column : columns)
      table.rows.back().push_back(text_of(values_of(cell, column), column.decimals));
  }
  return table;
}

// Draws for each group the line through its rates, and for each run a dot.
Chart curve_of(const std::vector<Cell>& cells, const Groups& groups, const Column& task,
               const Column& kept) {
  Chart chart{.title = concat(kept.name, " against ", task.name),
              .x_label = task.title(),
              .y_label = kept.title()};
  if (kept.base) chart.levels.push_back({.label = "base model", .y = *kept.base});
  for (std::size_t group = 0; group < groups.names.size(); ++group) {
    const Ink ink{.number = group};
    Line dots{.label = groups.names[group], .ink = ink, .joined = false, .dotted = true};
    Line line{.label = groups.names[group], .ink = ink};
    for (const Cell& cell : cells) {
      if (cell.group != group) continue;
      for (const Run* run : cell.runs) {
        const auto x = task.value_of(*run);
        const auto y = kept.value_of(*run);
        if (!x || !y) continue;
        dots.points.add(*x, *y);
        dots.tips.push_back(concat(run->name, ", rate ", core::four_digits(cell.rate), ": ",
                                   decimals(*x, task.decimals), ", ", decimals(*y, kept.decimals)));
      }
      const double x = mean_of(values_of(cell, task));
      const double y = mean_of(values_of(cell, kept));
      if (std::isfinite(x) && std::isfinite(y)) line.points.add(x, y);
    }
    chart.lines.push_back(std::move(line));
    chart.lines.push_back(std::move(dots));
  }
  chart.note = concat(task.is_loss ? "Further left: learnt more. " : "Further right: learnt more. ",
                      kept.is_loss ? "Lower: kept more." : "Higher: kept more.");
  return chart;
}

}  // namespace

Section comparison(const std::vector<Run>& runs, const Groups& groups, const Compared& compared) {
  Section section{.title = "Learnt and kept"};
  std::vector<Column> columns = columns_of(runs, compared);
  choose_decimals(runs, columns);
  const bool measured =
      std::any_of(runs.begin(), runs.end(), [](const Run& run) { return !run.measures.empty(); });
  if (columns.empty() || (runs.size() < 2 && !measured)) return section;
  const std::vector<Cell> cells = cells_of(runs, groups);
  section.blocks.emplace_back(table_of(cells, groups, columns));
  section.blocks.emplace_back(
      Paragraph{"Means over the runs of a rate; in brackets the largest minus the smallest. "
                "\xE2\x97\x86: the rate at which the method learns the task best."});
  if (columns.size() < 2) return section;
  Legend legend;
  for (std::size_t group = 0; group < groups.names.size(); ++group)
    legend.entries.push_back({groups.names[group], {.number = group}});
  section.blocks.emplace_back(std::move(legend));
  for (std::size_t i = 1; i < columns.size(); ++i) {
    Chart chart = curve_of(cells, groups, columns.front(), columns[i]);
    const bool drawn = std::any_of(chart.lines.begin(), chart.lines.end(),
                                   [](const Line& line) { return line.points.size() > 0; });
    if (drawn) section.blocks.emplace_back(std::move(chart));
  }
  return section;
}

}  // namespace corda::report
