// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/error.h"
#include "report/document.h"
#include "report/style.h"

namespace corda::report {

using core::concat;

namespace {

class Page {
 public:
  std::string text(const Document& document) {
    const std::string title = xml_text(document.title);
    out_ = concat(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>",
        title, "</title>\n<style>", kStyle, "</style>\n</head>\n<body>\n<h1>", title, "</h1>\n");
    for (const Section& section : document.sections) add(section);
    return out_ + "</body>\n</html>\n";
  }

 private:
  void add(const Section& section) {
    out_ += concat("<section>\n<h2>", xml_text(section.title), "</h2>\n");
    bool in_charts = false;
    for (const Block& block : section.blocks) {
      const bool chart = std::holds_alternative<Chart>(block);
      if (chart != in_charts) out_ += chart ? "<div class=\"charts\">\n" : "</div>\n";
      in_charts = chart;
      std::visit([this](const auto& content) { add(content); }, block);
    }
    if (in_charts) out_ += "</div>\n";
    out_ += "</section>\n";
  }

  void add(const Paragraph& paragraph) {
    out_ += concat("<p>", xml_text(paragraph.text), "</p>\n");
  }

  void add(const Heading& heading) { out_ += concat("<h3>", xml_text(heading.text), "</h3>\n"); }

  void add(const Table& table) {
    out_ += "<div class=\"scroll\"><table>\n<thead><tr>";
    for (std::size_t i = 0; i < table.head.size(); ++i) add_cell("th", i, table, table.head[i]);
    out_ += "</tr></thead>\n<tbody>\n";
    for (const auto& row : table.rows) {
      out_ += "<tr>";
      for (std::size_t i = 0; i < row.size(); ++i) add_cell("td", i, table, row[i]);
      out_ += "</tr>\n";
    }
    out_ += "</tbody></table></div>\n";
  }

  void add_cell(const char* tag, std::size_t column, const Table& table, const std::string& text) {
    out_ += concat("<", tag, column < table.texts ? " class=\"t\">" : ">", xml_text(text), "</",
                   tag, ">");
  }

  void add(const Legend& legend) {
    out_ += "<ul class=\"legend\">\n";
    for (const auto& entry : legend.entries)
      out_ += concat("<li>", to_svg(entry.ink), xml_text(entry.label), "</li>\n");
    out_ += "</ul>\n";
  }

  void add(const Chart& chart) {
    out_ +=
        concat("<figure>\n<figcaption>", xml_text(chart.title), "</figcaption>\n", to_svg(chart));
    if (!chart.note.empty()) out_ += concat("<p>", xml_text(chart.note), "</p>\n");
    out_ += "</figure>\n";
  }

  std::string out_;
};

}  // namespace

std::string to_html(const Document& document) { return Page().text(document); }

}  // namespace corda::report
