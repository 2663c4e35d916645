// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/record_reader.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "data/csv_reader.h"
#include "data/text_reader.h"

namespace corda::data {

namespace {

class LinesReader : public RecordReader {
 public:
  LinesReader(std::unique_ptr<TextReader> text, ReadLimits limits)
      : text_(std::move(text)), limits_(limits) {}

  std::optional<RawRecord> next_raw() override {
    RawRecord raw{.text = {}, .line = text_->line(), .column = text_->column()};
    while (text_->read_line(raw.text, limits_.record_bytes)) {
      if (!core::trim(raw.text).empty()) return raw;
      raw.line = text_->line();
      raw.column = 1;
    }
    return std::nullopt;
  }

  bool skip_bad() override {
    text_->skip_line();
    return true;
  }

 private:
  std::unique_ptr<TextReader> text_;
  ReadLimits limits_;
};

class ListReader : public RecordReader {
 public:
  ListReader(std::unique_ptr<TextReader> text, ReadLimits limits)
      : text_(std::move(text)), limits_(limits) {
    text_->skip_space();
    text_->get();  // the opening bracket, which chose this reader
  }

  bool skip_bad() override { return false; }

  std::optional<RawRecord> next_raw() override {
    if (ended_) return std::nullopt;
    text_->skip_space();
    if (first_ && text_->peek() == ']') return finish();
    if (!first_) {
      if (text_->peek() == ']') return finish();
      if (text_->peek() != ',') text_->fail(at_end("expected ',' or ']' after a record"));
      text_->get();
      text_->skip_space();
    }
    first_ = false;
    if (text_->peek() != '{') text_->fail(at_end("every record of the list must be a JSON object"));
    return read_object();
  }

 private:
  std::optional<RawRecord> finish() {
    text_->get();
    text_->skip_space();
    if (text_->peek() != TextReader::kEnd)
      text_->fail("the file goes on after the end of the list");
    ended_ = true;
    return std::nullopt;
  }

  std::string at_end(const char* reason) {
    return text_->peek() == TextReader::kEnd ? core::concat(reason, "; the file ends here")
                                             : std::string(reason);
  }

  // Copies bytes to the brace that closes the record. An unfinished record is parsed too: the
  // parser knows best where it went wrong.
  RawRecord read_object() {
    RawRecord raw{.text = {}, .line = text_->line(), .column = text_->column()};
    std::string& object = raw.text;
    std::int64_t depth = 0;
    bool quoted = false;
    bool escaped = false;
    do {
      const int byte = text_->get();
      if (byte == TextReader::kEnd) break;
      if (static_cast<std::int64_t>(object.size()) >= limits_.record_bytes) {
        text_->fail(core::concat("the record that begins in line ", raw.line,
                                 " is longer than the ", limits_.record_bytes,
                                 " bytes a record may have"));
      }
      object.push_back(static_cast<char>(byte));
      if (quoted) {
        quoted = escaped || byte != '"';
        escaped = !escaped && byte == '\\';
      } else if (byte == '"') {
        quoted = true;
      } else if (byte == '{' || byte == '[') {
        ++depth;
      } else if (byte == '}' || byte == ']') {
        --depth;
      }
    } while (depth > 0);
    return raw;
  }

  std::unique_ptr<TextReader> text_;
  ReadLimits limits_;
  bool first_ = true;
  bool ended_ = false;
};

// The whole text, or its parts where part_bytes asks for them; lines end by line feeds alone.
class PlainTextReader : public RecordReader {
 public:
  PlainTextReader(std::unique_ptr<TextReader> text, ReadLimits limits)
      : text_(std::move(text)), limits_(limits) {}

  bool skip_bad() override { return false; }

  std::optional<RawRecord> next_raw() override {
    if (text_->peek() == TextReader::kEnd) return std::nullopt;
    RawRecord raw{.text = {}, .plain = true};
    std::string& content = raw.text;
    for (int byte = text_->get(); byte != TextReader::kEnd; byte = text_->get()) {
      if (byte == '\r' && text_->peek() == '\n') continue;
      if (limits_.part_bytes == 0 &&
          static_cast<std::int64_t>(content.size()) >= limits_.text_bytes) {
        text_->fail(core::concat("the text is longer than the ", limits_.text_bytes,
                                 " bytes one document may have; split it into several files"));
      }
      content.push_back(static_cast<char>(byte));
      if (static_cast<std::int64_t>(content.size()) == limits_.part_bytes) break;
    }
    return raw;
  }

 private:
  std::unique_ptr<TextReader> text_;
  ReadLimits limits_;
};

// A list or one object a line.
class JsonReader : public RecordReader {
 public:
  JsonReader(std::unique_ptr<TextReader> text, ReadLimits limits)
      : text_(std::move(text)), limits_(limits) {}

  std::optional<RawRecord> next_raw() override {
    if (!inner_) choose();
    return inner_->next_raw();
  }

  bool skip_bad() override { return inner_ && inner_->skip_bad(); }

 private:
  void choose() {
    text_->skip_space();
    const int byte = text_->peek();
    if (byte == '[') {
      inner_ = std::make_unique<ListReader>(std::move(text_), limits_);
    } else if (byte == '{' || byte == TextReader::kEnd) {
      inner_ = std::make_unique<LinesReader>(std::move(text_), limits_);
    } else {
      text_->fail("not JSON: expected '{' (one object a line) or '[' (a list of objects)");
    }
  }

  std::unique_ptr<TextReader> text_;
  ReadLimits limits_;
  std::unique_ptr<RecordReader> inner_;
};

}  // namespace

namespace {

[[noreturn]] void fail_parsing(const core::FormatError& error, const std::string& text) {
  const bool literal = std::string_view(error.what()).find("invalid literal") != std::string::npos;
  const bool number =
      text.find("NaN") != std::string::npos || text.find("Infinity") != std::string::npos;
  if (!literal || !number) throw error;
  throw core::FormatError(core::concat(
      error.what(), " (NaN and Infinity are no JSON; write null where a value is missing)"));
}

}  // namespace

// Only for the message of a failure is the text moved to its column in the file: doing it always
// would cost the square of a one-line file's length.
Record parse_record(RawRecord raw, const std::string& name) {
  Record record{.value = {}, .line = raw.line, .column = raw.column};
  if (raw.plain) {
    record.value["text"] = std::move(raw.text);
    return record;
  }
  try {
    record.value = core::parse_json(raw.text, name, raw.line);
  } catch (const core::FormatError& error) {
    if (core::trim(raw.text) == "{") {
      throw core::FormatError(core::concat(
          error.what(), ": each record stands on one line, or in a list [...] over several"));
    }
    if (raw.column == 1) fail_parsing(error, raw.text);
    try {
      core::parse_json(std::string(static_cast<std::size_t>(raw.column - 1), ' ') + raw.text, name,
                       raw.line);
    } catch (const core::FormatError& moved) {
      fail_parsing(moved, raw.text);
    }
    throw;
  }
  if (!record.value.is_object()) {
    throw core::FormatError(
        located(name, raw.line, raw.column,
                core::concat("every record must be a JSON object; this one is of type ",
                             record.value.type_name())));
  }
  return record;
}

namespace {

// The ending in lower case; a ".gz" or ".zst" behind it does not count.
std::string extension_of(const std::filesystem::path& path) {
  std::filesystem::path name = path.filename();
  if (name.extension() == ".gz" || name.extension() == ".zst") name = name.stem();
  return core::to_lower_ascii(name.extension().string());
}

}  // namespace

Container container_of(const std::filesystem::path& path, const std::string& format) {
  const std::string extension = extension_of(path);
  if (extension == ".csv" || extension == ".tsv") return Container::kCsv;
  if (extension == ".parquet" || extension == ".arrow" || extension == ".feather")
    return Container::kTable;
  const bool json = extension == ".json" || extension == ".jsonl" || extension == ".ndjson";
  return json || (format != "auto" && format != "text") ? Container::kJson : Container::kText;
}

void refuse_other_containers(const std::filesystem::path& path, const std::string& format) {
  constexpr std::array<std::string_view, 8> kOthers = {".xlsx", ".pdf", ".zip", ".tar",
                                                       ".tgz",  ".xz",  ".bz2", ".pkl"};
  const std::string extension = extension_of(path);
  if (format != "auto" || std::find(kOthers.begin(), kOthers.end(), extension) == kOthers.end())
    return;
  throw core::FormatError(core::concat(path.string(), ": '", extension,
                                       "' files are not read; write the data as JSONL (one object ",
                                       "a line, gzip if you like), CSV or Parquet, or give the "
                                       "format 'text' if it is plain text all the same"));
}

std::unique_ptr<RecordReader> open_records(std::unique_ptr<ByteSource> source, std::string name,
                                           Container container, ReadLimits limits,
                                           const std::set<std::string>& json_columns) {
  const char separator = extension_of(name) == ".tsv" ? '\t' : '\0';
  auto plain = unpack_if_compressed(std::move(source), name);
  auto text = std::make_unique<TextReader>(std::move(plain), std::move(name));
  if (container == Container::kText)
    return std::make_unique<PlainTextReader>(std::move(text), limits);
  if (container == Container::kCsv)
    return open_csv(std::move(text), separator, json_columns, limits);
  return std::make_unique<JsonReader>(std::move(text), limits);
}

}  // namespace corda::data
