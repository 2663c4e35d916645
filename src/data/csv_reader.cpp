// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/csv_reader.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "corda/core/error.h"
#include "corda/core/text.h"

namespace corda::data {

namespace {

using core::concat;
using core::Json;

struct Cell {
  std::string text;
  bool quoted = false;
};

// The separator that stands most often in a line, outside of quotes.
char most_frequent_separator(std::string_view line) {
  constexpr std::string_view kSeparators = ",;\t|";
  std::vector<int> counts(kSeparators.size());
  bool quoted = false;
  for (const char c : line) {
    if (c == '"') quoted = !quoted;
    const auto at = kSeparators.find(c);
    if (!quoted && at != std::string_view::npos) ++counts[at];
  }
  return kSeparators[static_cast<std::size_t>(std::max_element(counts.begin(), counts.end()) -
                                              counts.begin())];
}

class CsvReader : public RecordReader {
 public:
  CsvReader(std::unique_ptr<TextReader> text, char separator, std::set<std::string> json_columns,
            ReadLimits limits)
      : text_(std::move(text)),
        separator_(separator),
        json_columns_(std::move(json_columns)),
        limits_(limits) {}

  std::optional<RawRecord> next_raw() override {
    can_skip_ = false;
    if (columns_.empty()) read_header();
    std::vector<Cell> cells;
    do {
      line_ = text_->line();
      cells = read_row();
      if (cells.empty()) return std::nullopt;
    } while (cells.size() == 1 && cells[0].text.empty() && !cells[0].quoted);
    if (cells.size() != columns_.size()) {
      can_skip_ = true;
      throw core::FormatError(
          located(text_->name(), line_, 1,
                  concat("the row has ", cells.size(), " cells, and the first line names ",
                         columns_.size(), " columns; a cell that holds the separator '",
                         separator_ == '\t' ? std::string("tab") : std::string(1, separator_),
                         "' or a line break needs double quotes around it")));
    }
    Json record = Json::object();
    for (std::size_t i = 0; i < cells.size(); ++i) record[columns_[i]] = value_of(i, cells[i]);
    return RawRecord{.text = record.dump(), .line = line_};
  }

  // A row of the wrong length has been read whole, so reading can go on behind it.
  bool skip_bad() override { return can_skip_; }

 private:
  void read_header() {
    line_ = text_->line();
    if (separator_ == 0) {
      std::string head;
      if (!text_->read_line(head, limits_.record_bytes)) return;
      separator_ = most_frequent_separator(head);
      // The head is read as one line: names of columns with a line break in them do not occur.
      auto line = std::make_unique<TextReader>(open_memory(head), text_->name());
      std::swap(line, text_);
      take_names(read_row());
      std::swap(line, text_);
      return;
    }
    take_names(read_row());
  }

  void take_names(const std::vector<Cell>& cells) {
    for (const Cell& cell : cells) {
      std::string name(core::trim(cell.text));
      if (std::find(columns_.begin(), columns_.end(), name) != columns_.end()) {
        throw core::FormatError(located(
            text_->name(), line_, 1, concat("the first line names the column '", name, "' twice")));
      }
      columns_.push_back(std::move(name));
    }
  }

  // Reads one row; it is empty at the end of the file.
  std::vector<Cell> read_row() {
    std::vector<Cell> cells;
    if (text_->peek() == TextReader::kEnd) return cells;
    bytes_ = 0;
    int end = separator_;
    while (end == separator_) {
      cells.emplace_back();
      end = read_cell(cells.back());
    }
    return cells;
  }

  // Reads a cell; returns what ended it: the separator, a line feed, or the end of the file.
  int read_cell(Cell& cell) {
    if (text_->peek() == '"') read_quoted(cell);
    while (true) {
      const int byte = text_->get();
      if (byte == TextReader::kEnd || byte == '\n' || byte == separator_) return byte;
      if (byte == '\r' && (text_->peek() == '\n' || text_->peek() == TextReader::kEnd)) continue;
      if (cell.quoted)
        text_->fail(
            "a cell goes on behind its closing quote; a quote within a cell is written \"\"");
      put(cell, byte);
    }
  }

  void read_quoted(Cell& cell) {
    const std::int64_t begin = text_->line();
    text_->get();
    cell.quoted = true;
    while (true) {
      const int byte = text_->get();
      if (byte == TextReader::kEnd) {
        throw core::FormatError(
            located(text_->name(), begin, 1, "a quote that opens in this line is never closed"));
      }
      if (byte == '"') {
        if (text_->peek() != '"') return;
        text_->get();
      }
      put(cell, byte);
    }
  }

  void put(Cell& cell, int byte) {
    if (++bytes_ > limits_.record_bytes) {
      text_->fail(concat("the row that begins in line ", line_, " is longer than the ",
                         limits_.record_bytes, " bytes a record may have"));
    }
    cell.text.push_back(static_cast<char>(byte));
  }

  Json value_of(std::size_t column, Cell& cell) const {
    if (cell.text.empty() && !cell.quoted) return nullptr;
    if (json_columns_.contains(columns_[column]) && core::trim(cell.text).starts_with('[')) {
      Json list = Json::parse(cell.text, nullptr, false);
      if (list.is_array()) return list;
    }
    return std::move(cell.text);
  }

  std::unique_ptr<TextReader> text_;
  char separator_;
  std::set<std::string> json_columns_;
  ReadLimits limits_;
  std::vector<std::string> columns_;
  std::int64_t line_ = 1;
  std::int64_t bytes_ = 0;
  bool can_skip_ = false;
};

}  // namespace

std::unique_ptr<RecordReader> open_csv(std::unique_ptr<TextReader> text, char separator,
                                       std::set<std::string> json_columns, ReadLimits limits) {
  return std::make_unique<CsvReader>(std::move(text), separator, std::move(json_columns), limits);
}

}  // namespace corda::data
