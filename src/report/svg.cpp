// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <optional>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "report/axis.h"
#include "report/document.h"

namespace corda::report {

using core::concat;

namespace {

// Sizes are in units of the viewBox, whose width fills a phone: there 13 are about 11 pixels.
constexpr double kWidth = 440;
constexpr double kHeight = 280;
constexpr double kLeast = 58;      // of the left margin, which grows with the ticks' numbers
constexpr double kWordRight = 16;  // the right edge of the y axis' word, which stands upright
constexpr double kWordLine = 12;   // its base line
constexpr double kGap = 6;         // between a number and its axis or the word
constexpr double kRight = 14;
constexpr double kTop = 16;
constexpr double kBottom = 46;
constexpr std::size_t kColours = 8;
constexpr std::size_t kColumns = 330;      // of thinned lines
constexpr std::size_t kMostCrosses = 100;  // of values that are not finite

std::string number(double value) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.1f", value);
  return text.data();
}

// The width of a tick's number at 13 units, in the widest of the page's fonts (DejaVu Sans, which
// stands for sans-serif on Linux). Whatever the number has beside digits and a point counts as a
// capital M.
double width_of(const std::string& text) {
  double width = 0;
  for (const char letter : text) {
    if (letter == '.')
      width += 4.2;
    else if (letter == '-')
      width += 4.7;
    else if ((letter >= '0' && letter <= '9') || letter == 'e' || letter == 'k')
      width += 8.3;
    else
      width += 11.3;
  }
  return width;
}

struct Extent {
  std::optional<double> low;
  std::optional<double> high;

  void take(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low.value_or(value), value);
    high = std::max(high.value_or(value), value);
  }
};

std::string ink_class(const Ink& ink) {
  const std::size_t dash = ink.number / kColours % 4;
  return concat("c", ink.number % kColours, dash > 0 ? concat(" d", dash) : std::string(),
                ink.faint ? " faint" : "");
}

class Drawing {
 public:
  explicit Drawing(const Chart& chart)
      : chart_(chart), x_(axis_of_x(chart)), y_(axis_of_y(chart)), left_(kLeast) {
    for (const Tick& tick : y_.ticks())
      if (is_shown(tick)) left_ = std::max(left_, kWordRight + width_of(tick.text) + 2 * kGap);
  }

  std::string text() {
    out_ = concat("<svg viewBox=\"0 0 ", kWidth, " ", kHeight, "\" role=\"img\" aria-label=\"",
                  xml_text(concat(chart_.title, ": ", chart_.y_label, " over ", chart_.x_label)),
                  "\">\n");
    draw_axes();
    for (const double mark : chart_.marks) {
      out_ += concat("<line class=\"mark\" x1=\"", px(mark), "\" y1=\"", number(kTop), "\" x2=\"",
                     px(mark), "\" y2=\"", number(kHeight - kBottom),
                     "\"><title>resumed</title></line>\n");
    }
    for (const auto& level : chart_.levels) draw_level(level);
    for (const Line& line : chart_.lines) draw(line);
    return out_ + "</svg>\n";
  }

 private:
  static Axis axis_of_x(const Chart& chart) {
    Extent extent;
    for (const Line& line : chart.lines) {
      for (const double x : line.points.x) extent.take(x);
    }
    // Dots by themselves would be cut at the ends of the axis.
    const bool loose = std::any_of(chart.lines.begin(), chart.lines.end(),
                                   [](const Line& line) { return !line.joined; });
    return {extent.low.value_or(0), extent.high.value_or(1), false, loose,
            chart.counts ? 1.0 : 0.0};
  }

  static Axis axis_of_y(const Chart& chart) {
    Extent extent;
    for (const Line& line : chart.lines) {
      for (const double y : line.points.y) extent.take(y);
    }
    for (const auto& level : chart.levels) extent.take(level.y);
    if (chart.from_zero) extent.take(0);
    const bool logarithmic = chart.logarithmic && extent.low.value_or(1) > 0;
    return {extent.low.value_or(logarithmic ? 1 : 0), extent.high.value_or(1), logarithmic, true};
  }

  bool is_shown(const Tick& tick) const {
    return y_.place(tick.value) >= -1e-9 && y_.place(tick.value) <= 1 + 1e-9;
  }

  double x_at(double value) const { return left_ + x_.place(value) * (kWidth - left_ - kRight); }
  double y_at(double value) const {
    return kHeight - kBottom - y_.place(value) * (kHeight - kTop - kBottom);
  }
  std::string px(double value) const { return number(x_at(value)); }
  std::string py(double value) const { return number(y_at(value)); }

  void draw_axes() {
    const std::string bottom = number(kHeight - kBottom);
    const std::string right = number(kWidth - kRight);
    for (const Tick& tick : y_.ticks()) {
      if (!is_shown(tick)) continue;
      out_ += concat("<line class=\"grid\" x1=\"", number(left_), "\" y1=\"", py(tick.value),
                     "\" x2=\"", right, "\" y2=\"", py(tick.value), "\"/>");
      out_ += concat("<text class=\"end\" x=\"", number(left_ - kGap), "\" y=\"",
                     number(y_at(tick.value) + 4), "\">", xml_text(tick.text), "</text>\n");
    }
    for (const Tick& tick : x_.ticks()) {
      out_ += concat("<line class=\"tick\" x1=\"", px(tick.value), "\" y1=\"", bottom, "\" x2=\"",
                     px(tick.value), "\" y2=\"", number(kHeight - kBottom + 4), "\"/>");
      out_ += concat("<text class=\"middle\" x=\"", px(tick.value), "\" y=\"",
                     number(kHeight - kBottom + 18), "\">", xml_text(tick.text), "</text>\n");
    }
    out_ += concat("<line class=\"axis\" x1=\"", number(left_), "\" y1=\"", bottom, "\" x2=\"",
                   right, "\" y2=\"", bottom, "\"/>\n");
    out_ += concat("<text class=\"middle\" x=\"", number((left_ + kWidth - kRight) / 2), "\" y=\"",
                   number(kHeight - 8), "\">", xml_text(chart_.x_label), "</text>\n");
    const double middle = (kTop + kHeight - kBottom) / 2;
    out_ += concat("<text class=\"middle\" x=\"", number(kWordLine), "\" y=\"", number(middle),
                   "\" transform=\"rotate(-90 ", number(kWordLine), " ", number(middle), ")\">",
                   xml_text(chart_.y_label), "</text>\n");
  }

  void draw_level(const Chart::Level& level) {
    if (!std::isfinite(level.y)) return;
    out_ += concat("<line class=\"level\" x1=\"", number(left_), "\" y1=\"", py(level.y),
                   "\" x2=\"", number(kWidth - kRight), "\" y2=\"", py(level.y), "\"/>");
    out_ += concat("<text class=\"small\" x=\"", number(left_ + 4), "\" y=\"",
                   number(std::max(kTop + 9, y_at(level.y) - 4)), "\">", xml_text(level.label),
                   "</text>\n");
  }

  void draw(const Line& line) {
    const std::string title = concat("<title>", xml_text(line.label), "</title>");
    // Dots keep their tips, so they are never thinned.
    const Series points = line.dotted ? line.points : thinned(line.points, kColumns);
    if (line.joined) draw_path(points, ink_class(line.ink), title);
    std::size_t crosses = 0;
    for (std::size_t i = 0; i < points.size(); ++i) {
      if (!std::isfinite(points.y[i])) {
        if (++crosses <= kMostCrosses) draw_cross(points.x[i], line);
        continue;
      }
      const bool alone = is_alone(points, i);
      if (!line.dotted && !alone) continue;
      const std::string tip = i < line.tips.size() ? line.tips[i] : line.label;
      out_ += concat("<circle class=\"", ink_class(line.ink), "\" cx=\"", px(points.x[i]),
                     "\" cy=\"", py(points.y[i]), "\" r=\"", line.dotted ? "4" : "2.5",
                     "\"><title>", xml_text(tip), "</title></circle>\n");
    }
  }

  // A value between two gaps, which a line would not show.
  static bool is_alone(const Series& points, std::size_t i) {
    const bool before = i > 0 && std::isfinite(points.y[i - 1]);
    const bool behind = i + 1 < points.size() && std::isfinite(points.y[i + 1]);
    return !before && !behind;
  }

  void draw_path(const Series& points, const std::string& ink, const std::string& title) {
    std::string path;
    bool down = false;
    for (std::size_t i = 0; i < points.size(); ++i) {
      if (!std::isfinite(points.y[i])) {
        down = false;
        continue;
      }
      path += concat(down ? "L" : "M", px(points.x[i]), " ", py(points.y[i]));
      down = true;
    }
    if (!path.empty())
      out_ += concat("<path class=\"line ", ink, "\" d=\"", path, "\">", title, "</path>\n");
  }

  void draw_cross(double x, const Line& line) {
    out_ += concat("<text class=\"cross middle\" x=\"", px(x), "\" y=\"", number(kTop + 6),
                   "\">\xC3\x97<title>",
                   xml_text(concat(line.label, ": not finite at ", core::format_double(x))),
                   "</title></text>\n");
  }

  const Chart& chart_;
  Axis x_;
  Axis y_;
  double left_;  // where the plot begins
  std::string out_;
};

// How many bytes the UTF-8 sequence has that begins with this byte; 0 where none does.
std::size_t sequence_bytes(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead < 0xE0) return 2;
  if (lead >= 0xE0 && lead < 0xF0) return 3;
  return lead >= 0xF0 && lead < 0xF5 ? 4 : 0;
}

// The character at the beginning of `text` if it is one and XML can hold it, else "".
std::string_view xml_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::size_t bytes = sequence_bytes(byte(0));
  if (bytes == 0 || bytes > text.size()) return "";
  if (bytes == 1)
    return byte(0) >= 0x20 || byte(0) == '\n' || byte(0) == '\t' ? text.substr(0, 1) : "";
  char32_t code = byte(0) & (0xFF >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    if (!core::is_utf8_continuation(text[i])) return "";
    code = code << 6 | (byte(i) & 0x3F);
  }
  const bool overlong = (bytes == 3 && code < 0x800) || (bytes == 4 && code < 0x10000);
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  const bool allowed = !overlong && !surrogate && code != 0xFFFE && code != 0xFFFF &&
                       code >= 0xA0 && code <= 0x10FFFF;
  return allowed ? text.substr(0, bytes) : "";
}

}  // namespace

std::string to_svg(const Chart& chart) { return Drawing(chart).text(); }

std::string to_svg(const Ink& ink) {
  return concat("<svg class=\"key\" viewBox=\"0 0 26 10\" aria-hidden=\"true\"><path class=\"line ",
                ink_class(ink), "\" d=\"M1 5L25 5\"/></svg>");
}

std::string xml_text(std::string_view text) {
  std::string clean;
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view character = xml_character(text.substr(at));
    if (character.empty())
      clean += "\xEF\xBF\xBD";
    else
      clean += character;
    at += std::max<std::size_t>(1, character.size());
  }
  return core::escape_html(clean);
}

}  // namespace corda::report
