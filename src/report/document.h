// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A report before it is HTML or Markdown. Texts are plain: whoever writes them out escapes them.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "report/series.h"

namespace corda::report {

struct Paragraph {
  std::string text;
};

// A heading of what follows in its section.
struct Heading {
  std::string text;
};

struct Table {
  std::vector<std::string> head = {};
  std::vector<std::vector<std::string>> rows = {};  // as long as the head
  std::size_t texts = 1;                            // columns from the left that are no numbers
};

// How a line looks: one of the palette's colours, dashed differently each time round.
struct Ink {
  std::size_t number = 0;
  bool faint = false;
};

struct Line {
  std::string label = {};
  Ink ink = {};
  Series points = {};
  bool joined = true;                  // by a line
  bool dotted = false;                 // each point is a dot
  std::vector<std::string> tips = {};  // of the dots, empty or one each
};

struct Chart {
  std::string title = {};
  std::string x_label = {};
  std::string y_label = {};
  std::vector<Line> lines = {};
  bool logarithmic = false;        // the y axis; all finite values must be above 0
  bool counts = false;             // the x axis has whole numbers only
  bool from_zero = false;          // the y axis begins at 0
  std::vector<double> marks = {};  // places on the x axis that are pointed out
  // A value to compare with, across the whole chart.
  struct Level {
    std::string label;
    double y = 0;
  };
  std::vector<Level> levels = {};
  std::string note = {};
};

struct Legend {
  struct Entry {
    std::string label;
    Ink ink;
  };
  std::vector<Entry> entries;
};

using Block = std::variant<Paragraph, Heading, Table, Legend, Chart>;

struct Section {
  std::string title;
  std::vector<Block> blocks = {};
};

struct Document {
  std::string title;
  std::vector<Section> sections = {};
};

// One page that needs no other file, no script and no network: inline SVG, for a phone, a dark
// screen and paper. It is well-formed XML too.
std::string to_html(const Document& document);
// The same in words and tables; a chart becomes a table of some of its points.
std::string to_markdown(const Document& document);

// An <svg> element whose colours come from the page's style sheet.
std::string to_svg(const Chart& chart);
// The line's sample in a legend.
std::string to_svg(const Ink& ink);

// Text as XML has it: escaped, and without what XML cannot hold (control characters, bytes that are
// not UTF-8), which becomes U+FFFD.
std::string xml_text(std::string_view text);

}  // namespace corda::report
