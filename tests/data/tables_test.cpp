// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Parquet, Arrow and CSV as pyarrow and pandas write them (scripts/golden/tables.py), and zstd.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/json.h"
#include "data/csv_reader.h"
#include "data/data_helpers.h"
#include "data/record_stream.h"
#include "data/table_reader.h"
#include "support/error_of.h"

namespace corda::data {
namespace {

using corda::testing::error_of;
using core::Json;
using ::testing::HasSubstr;

const fs::path kTables = fs::path(CORDA_SOURCE_DIR) / "tests/golden/tables";

Json rows_of(RecordReader& reader) {
  Json rows = Json::array();
  while (auto raw = reader.next_raw()) rows.push_back(parse_record(std::move(*raw), "t").value);
  return rows;
}

std::unique_ptr<RecordReader> open(const fs::path& path) {
  const Container container = container_of(path, "auto");
  if (container == Container::kTable) return open_table(path);
  return open_records(open_file(path), path.string(), container);
}

std::unique_ptr<RecordReader> csv(std::string text, ReadLimits limits = {}) {
  return open_records(open_memory(std::move(text), 3), "f.csv", Container::kCsv, limits,
                      {"messages"});
}

class Tables : public ::testing::TestWithParam<const char*> {};

TEST_P(Tables, HoldsWhatTheOtherProgramPutIn) {
  const fs::path path = kTables / GetParam();
  if (container_of(path, "auto") == Container::kTable && !reads_tables())
    GTEST_SKIP() << "built without Arrow";
  const Json expected = core::read_json(kTables / (std::string(GetParam()) + ".json"));
  EXPECT_GE(expected.size(), 4U);
  EXPECT_EQ(rows_of(*open(path)), expected);
}

INSTANTIATE_TEST_SUITE_P(Golden, Tables,
                         ::testing::Values("chat.parquet", "chat_v1.parquet", "chat.feather",
                                           "chat.arrow", "pandas.parquet", "pandas.csv",
                                           "semicolon.csv", "pandas.tsv"));

TEST(Zstd, FramesOneAfterTheOtherAreOneStreamWhateverTheBuffer) {
  const Json expected = {
      {{"text", std::string(300000, 'x')}}, {{"text", "y"}}, {{"text", "z"}}, {{"text", "end"}}};
  EXPECT_EQ(rows_of(*open(kTables / "lines.jsonl.zst")), expected);
}

TEST(Zstd, ACutStreamIsAnErrorThatSaysSo) {
  const std::string whole = core::read_file(kTables / "lines.jsonl.zst");
  const auto read = [&](std::string packed) {
    const auto source = unpack_if_compressed(open_memory(std::move(packed), 5), "f.zst");
    std::string text(1 << 20, '\0');
    while (source->read(text.data(), text.size()) > 0) {
    }
  };
  EXPECT_EQ(error_of<core::FormatError>([&] { read(whole.substr(0, whole.size() - 3)); }),
            "f.zst: the zstd stream ends too early; the file is truncated");
  std::string damaged = whole;
  damaged[4] = static_cast<char>(~damaged[4]);  // what the frame says of itself
  EXPECT_THAT(error_of<core::FormatError>([&] { read(damaged); }),
              HasSubstr("f.zst: the zstd stream is damaged: "));
}

TEST(Table, RowsOfALargeGroupComeInOrderWithTheirNumbers) {
  if (!reads_tables()) GTEST_SKIP() << "built without Arrow";
  const auto reader = open_table(kTables / "many.parquet");
  std::int64_t rows = 0;
  while (auto raw = reader->next_raw()) {
    ASSERT_EQ(raw->text, "{\"text\":\"line " + std::to_string(rows) + "\"}");
    ASSERT_EQ(raw->line, ++rows);
  }
  EXPECT_EQ(rows, 20000);
}

TEST(Table, ColumnsAreDetectedAndMappedAsThoseOfJson) {
  if (!reads_tables()) GTEST_SKIP() << "built without Arrow";
  RecordStream chat({.path = kTables / "chat.parquet", .first = 1, .count = 2});
  EXPECT_EQ(chat.format(), "messages");
  EXPECT_EQ(chat.next_raw()->line, 2);
  EXPECT_EQ(chat.next_raw()->line, 3);
  EXPECT_FALSE(chat.next_raw());
  EXPECT_EQ(RecordStream({.path = kTables / "pandas.parquet"}).format(), "qa");
  RecordStream mapped({.path = kTables / "pandas.parquet",
                       .columns = {{"prompt", "question"}, {"completion", "kind"}}});
  EXPECT_EQ(mapped.format(), "prompt-completion");
}

TEST(Table, DamageIsAnErrorThatNamesTheFile) {
  if (!reads_tables()) {
    EXPECT_THAT(error_of<core::FormatError>([] { open_table("a.parquet"); }),
                HasSubstr("a.parquet: this corda was built without Arrow"));
    return;
  }
  const TemporaryFolder folder;
  const std::string whole = core::read_file(kTables / "chat.parquet");
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{7}, whole.size() / 2, whole.size() - 9}) {
    const fs::path path = folder.write("t.parquet", whole.substr(0, size));
    EXPECT_THAT(error_of<core::FormatError>([&] { rows_of(*open_table(path)); }),
                HasSubstr("t.parquet: the table cannot be read: "))
        << size;
  }
  std::string damaged = whole;  // within the first pages
  for (std::size_t at = 40; at < 400; ++at) damaged[at] = static_cast<char>(~damaged[at]);
  const fs::path path = folder.write("d.parquet", damaged);
  EXPECT_THAT(error_of<core::FormatError>([&] { rows_of(*open_table(path)); }),
              HasSubstr("d.parquet: the table cannot be read: "));
  EXPECT_THAT(error_of<core::IoError>([&] { open_table(folder.path() / "none.parquet"); }),
              HasSubstr("cannot open '"));
}

TEST(Csv, CellsAreTextAndMayHoldQuotesSeparatorsAndLineBreaks) {
  const Json rows = rows_of(*csv("a,b\r\n1,\"x, \"\"y\"\"\nz\"\r\n,\"\"\r\n\r\nü,2"));
  EXPECT_EQ(rows,
            Json::parse(R"([{"a":"1","b":"x, \"y\"\nz"},{"a":null,"b":""},{"a":"ü","b":"2"}])"));
}

TEST(Csv, AListOfMessagesInACellIsOne) {
  const Json rows =
      rows_of(*csv("messages,text\n\"[{\"\"role\"\":\"\"user\"\"}]\",\"[1]\"\n[broken,\"[1]\"\n"));
  EXPECT_EQ(rows[0], Json::parse(R"({"messages":[{"role":"user"}],"text":"[1]"})"));
  EXPECT_EQ(rows[1], Json::parse(R"({"messages":"[broken","text":"[1]"})"));
}

TEST(Csv, ErrorsNameTheLine) {
  const auto error = [](const char* text, ReadLimits limits = {}) {
    return error_of<core::FormatError>([&] { rows_of(*csv(text, limits)); });
  };
  EXPECT_EQ(error("a,b\n\"1\n2\",3\n4\n"),
            "f.csv:4:1: the row has 1 cells, and the first line names 2 columns; a cell that holds "
            "the separator ',' or a line break needs double quotes around it");
  EXPECT_EQ(error("a,b\n1,\"2\n"), "f.csv:2:1: a quote that opens in this line is never closed");
  EXPECT_EQ(error("a,b\n\"1\"x,2\n"),
            "f.csv:2:5: a cell goes on behind its closing quote; a quote within a cell is written "
            "\"\"");
  EXPECT_EQ(error("a,a\n1,2\n"), "f.csv:1:1: the first line names the column 'a' twice");
  EXPECT_EQ(
      error("a,b\n12345,6\n", {.record_bytes = 5}),
      "f.csv:2:8: the row that begins in line 2 is longer than the 5 bytes a record may have");
}

TEST(Csv, ARowOfTheWrongLengthCanBeLeftOut) {
  const auto reader = csv("a,b\n1,2\n3\n4,5\n");
  EXPECT_EQ(reader->next_raw()->line, 2);
  EXPECT_THROW(reader->next_raw(), core::FormatError);
  EXPECT_TRUE(reader->skip_bad());
  EXPECT_EQ(reader->next_raw()->line, 4);
}

}  // namespace
}  // namespace corda::data
