// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <cmath>
#include <set>

#include "corda/core/error.h"
#include "corda/core/quantity.h"
#include "corda/core/text.h"
#include "report/document.h"

namespace corda::report {

using core::concat;

namespace {

constexpr std::size_t kRows = 12;  // of a chart's table

// The text with a backslash where Markdown or HTML would read a mark.
std::string plain(std::string_view text) {
  static const std::string special = "\\`*_[]|~";
  std::string escaped;
  for (const char c : xml_text(text)) {
    if (special.find(c) != std::string::npos) escaped += '\\';
    escaped += c == '\n' ? ' ' : c;
  }
  return escaped;
}

std::string row_of(const std::vector<std::string>& cells) {
  std::string row = "|";
  for (const auto& cell : cells) row += " " + plain(cell) + " |";
  return row + "\n";
}

std::string text_of(double value) {
  return std::isfinite(value) ? core::four_digits(value) : "not finite";
}

std::string text_of(const Table& table) {
  std::string text = row_of(table.head) + "|";
  for (std::size_t i = 0; i < table.head.size(); ++i) text += i < table.texts ? "---|" : "---:|";
  text += "\n";
  for (const auto& row : table.rows) text += row_of(row);
  return text;
}

std::string text_of(const Heading& heading) { return concat("### ", plain(heading.text), "\n"); }

std::string text_of(const Paragraph& paragraph) { return plain(paragraph.text) + "\n"; }

// The tables name every line themselves.
std::string text_of(const Legend& /*legend*/) { return ""; }

// About kRows places at which lines have a value, evenly spread, the ends among them.
std::vector<double> places_of(const std::vector<const Line*>& lines) {
  std::set<double> all;
  for (const Line* line : lines) all.insert(line->points.x.begin(), line->points.x.end());
  const std::vector<double> sorted(all.begin(), all.end());
  if (sorted.size() <= kRows) return sorted;
  std::vector<double> chosen;
  for (std::size_t i = 0; i < kRows; ++i)
    chosen.push_back(sorted[i * (sorted.size() - 1) / (kRows - 1)]);
  return chosen;
}

// The line's value there, or "" where it has no point.
std::string value_at(const Series& points, double x) {
  const auto found = std::lower_bound(points.x.begin(), points.x.end(), x);
  if (found == points.x.end() || *found != x) return "";
  return text_of(points.y[static_cast<std::size_t>(found - points.x.begin())]);
}

Table table_over_x(const Chart& chart, const std::vector<const Line*>& lines) {
  Table table{.head = {chart.x_label}, .texts = 0};
  for (const Line* line : lines) table.head.push_back(line->label);
  for (const double x : places_of(lines)) {
    table.rows.push_back({core::four_digits(x)});
    for (const Line* line : lines) table.rows.back().push_back(value_at(line->points, x));
  }
  return table;
}

Table table_of_points(const Chart& chart) {
  Table table{.head = {"", chart.x_label, chart.y_label}};
  for (const Line& line : chart.lines) {
    if (!line.dotted) continue;
    for (std::size_t i = 0; i < line.points.size(); ++i) {
      table.rows.push_back({i < line.tips.size() ? line.tips[i] : line.label,
                            text_of(line.points.x[i]), text_of(line.points.y[i])});
    }
  }
  return table;
}

std::string text_of(const Chart& chart) {
  std::vector<const Line*> lines;
  bool has_loose_dots = false;
  for (const Line& line : chart.lines) {
    if (!line.ink.faint) lines.push_back(&line);
    has_loose_dots = has_loose_dots || !line.joined;
  }
  std::string text = concat("**", plain(chart.title), "** (", plain(chart.y_label), ")\n\n");
  text += text_of(has_loose_dots ? table_of_points(chart) : table_over_x(chart, lines));
  for (const auto& level : chart.levels)
    text += concat("\n", plain(level.label), ": ", text_of(level.y), "\n");
  if (!chart.note.empty()) text += concat("\n", plain(chart.note), "\n");
  return text;
}

}  // namespace

std::string to_markdown(const Document& document) {
  std::string text = concat("# ", plain(document.title), "\n");
  for (const Section& section : document.sections) {
    text += concat("\n## ", plain(section.title), "\n");
    for (const Block& block : section.blocks) {
      const std::string content =
          std::visit([](const auto& value) { return text_of(value); }, block);
      if (!content.empty()) text += "\n" + content;
    }
  }
  return text;
}

}  // namespace corda::report
