// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// UTF-8 text byte by byte or line by line, knowing at every moment where in the file it is.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "data/byte_source.h"

namespace corda::data {

// Skips a byte order mark and checks that the text is valid UTF-8. Lines and columns count from 1,
// columns in bytes.
class TextReader {
 public:
  static constexpr int kEnd = -1;

  TextReader(std::unique_ptr<ByteSource> source, std::string name);

  // The next byte, or kEnd. `get` throws FormatError for invalid UTF-8, with the place where the
  // broken character begins.
  int peek();
  int get();
  void skip_space();

  // One line without its line feed (and the carriage return before it); false at the end of the
  // text. Throws FormatError for a line longer than `max_bytes`.
  bool read_line(std::string& line, std::int64_t max_bytes);
  // Moves behind the next line feed without looking at what is before it.
  void skip_line();

  // The place of the next byte.
  std::int64_t line() const { return line_; }
  std::int64_t column() const { return column_; }
  const std::string& name() const { return name_; }

  [[noreturn]] void fail(std::string_view reason) const;

 private:
  bool fill();
  void check_utf8(unsigned char byte);
  [[noreturn]] void fail_utf8(std::string_view reason) const;

  std::unique_ptr<ByteSource> source_;
  std::string name_;
  std::array<char, 65536> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool ended_ = false;
  std::int64_t line_ = 1;
  std::int64_t column_ = 1;
  // The multi-byte character being read: how many bytes are to come, what the next may be, where it
  // began.
  int pending_ = 0;
  unsigned char lowest_ = 0x80;
  unsigned char highest_ = 0xBF;
  std::int64_t character_column_ = 1;
};

// What follows a byte order mark of UTF-8.
std::string_view without_byte_order_mark(std::string_view text);
// Throws FormatError where the bytes begin as UTF-16 does.
void check_not_wide(std::string_view head, const std::string& name);

// "FILE:LINE:COLUMN: reason".
std::string located(const std::string& name, std::int64_t line, std::int64_t column,
                    std::string_view reason);

}  // namespace corda::data
