// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/text_reader.h"

#include <algorithm>
#include <utility>

#include "corda/core/error.h"

namespace corda::data {

namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::string_view kWideMarks[] = {"\xFF\xFE", "\xFE\xFF"};

}  // namespace

std::string located(const std::string& name, std::int64_t line, std::int64_t column,
                    std::string_view reason) {
  return core::concat(name, ":", line, ":", column, ": ", reason);
}

std::string_view without_byte_order_mark(std::string_view text) {
  return text.starts_with(kByteOrderMark) ? text.substr(kByteOrderMark.size()) : text;
}

void check_not_wide(std::string_view head, const std::string& name) {
  // Without a mark, ASCII in UTF-16 has a zero beside every letter.
  bool wide =
      head.size() >= 3 && (head[0] == 0) != (head[1] == 0) && (head[2] == 0) == (head[0] == 0);
  for (const std::string_view mark : kWideMarks) wide = wide || head.starts_with(mark);
  if (!wide) return;
  throw core::FormatError(located(
      name, 1, 1,
      "the file is UTF-16; only UTF-8 is read (iconv -f UTF-16 -t UTF-8 turns it into that)"));
}

TextReader::TextReader(std::unique_ptr<ByteSource> source, std::string name)
    : source_(std::move(source)), name_(std::move(name)) {
  while (end_ < kByteOrderMark.size()) {
    const std::size_t got = source_->read(buffer_.data() + end_, buffer_.size() - end_);
    if (got == 0) break;
    end_ += got;
  }
  const std::string_view head(buffer_.data(), end_);
  begin_ = head.size() - without_byte_order_mark(head).size();
  check_not_wide(head, name_);
}

void TextReader::fail(std::string_view reason) const {
  throw core::FormatError(located(name_, line_, column_, reason));
}

void TextReader::fail_utf8(std::string_view reason) const {
  throw core::FormatError(
      located(name_, line_, character_column_, core::concat("not valid UTF-8: ", reason)));
}

bool TextReader::fill() {
  if (begin_ < end_) return true;
  if (ended_) return false;
  begin_ = end_ = 0;  // read() may throw, and what was read must not come again
  end_ = source_->read(buffer_.data(), buffer_.size());
  ended_ = end_ == 0;
  return !ended_;
}

int TextReader::peek() { return fill() ? static_cast<unsigned char>(buffer_[begin_]) : kEnd; }

int TextReader::get() {
  if (!fill()) {
    if (pending_ > 0) fail_utf8("the text ends in the middle of a character");
    return kEnd;
  }
  const auto byte = static_cast<unsigned char>(buffer_[begin_]);
  check_utf8(byte);
  ++begin_;
  if (byte == '\n') {
    ++line_;
    column_ = 1;
  } else {
    ++column_;
  }
  return byte;
}

// Unicode 15, table 3-7: well-formed UTF-8 byte sequences.
void TextReader::check_utf8(unsigned char byte) {
  if (pending_ > 0) {
    if (byte < lowest_ || byte > highest_) fail_utf8("a character is broken off");
    --pending_;
    lowest_ = 0x80;
    highest_ = 0xBF;
    return;
  }
  if (byte < 0x80) return;
  character_column_ = column_;
  if (byte < 0xC2 || byte > 0xF4) fail_utf8("no character begins with this byte");
  pending_ = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
  if (byte == 0xE0) lowest_ = 0xA0;   // no overlong forms
  if (byte == 0xED) highest_ = 0x9F;  // no surrogates
  if (byte == 0xF0) lowest_ = 0x90;
  if (byte == 0xF4) highest_ = 0x8F;  // nothing above U+10FFFF
}

void TextReader::skip_space() {
  for (int byte = peek(); byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
       byte = peek())
    get();
}

bool TextReader::read_line(std::string& line, std::int64_t max_bytes) {
  line.clear();
  if (peek() == kEnd) return false;
  for (int byte = get(); byte != kEnd && byte != '\n'; byte = get()) {
    if (static_cast<std::int64_t>(line.size()) >= max_bytes) {
      fail(core::concat("the line is longer than the ", max_bytes, " bytes a record may have"));
    }
    line.push_back(static_cast<char>(byte));
  }
  if (line.ends_with('\r')) line.pop_back();
  return true;
}

void TextReader::skip_line() {
  pending_ = 0;
  while (fill()) {
    if (buffer_[begin_++] != '\n') continue;
    ++line_;
    column_ = 1;
    return;
  }
}

}  // namespace corda::data
