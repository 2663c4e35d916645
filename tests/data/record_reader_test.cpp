// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/record_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/data_helpers.h"

namespace corda::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// "LINE:COLUMN JSON" of every record. Pieces of one byte try every place where a buffer can end.
std::vector<std::string> read_all(const std::string& content,
                                  Container container = Container::kJson, std::size_t piece = 65536,
                                  ReadLimits limits = {}) {
  auto reader = open_records(open_memory(content, piece), "f", container, limits);
  std::vector<std::string> records;
  while (auto raw = reader->next_raw()) {
    const auto record = parse_record(std::move(*raw), "f");
    records.push_back(core::concat(record.line, ":", record.column, " ", record.value.dump()));
  }
  return records;
}

std::string error_of(const std::string& content, Container container = Container::kJson,
                     ReadLimits limits = {}) {
  return message_of<core::FormatError>([&] { read_all(content, container, 1, limits); });
}

TEST(RecordReader, LinesSkipBlanksAndAcceptByteOrderMarkAndCarriageReturns) {
  const std::string content = "\xEF\xBB\xBF{\"a\":1}\r\n\r\n  \n{\"a\":\"\xC3\xA9\"}";
  for (const std::size_t piece : {1U, 2U, 65536U}) {
    EXPECT_THAT(read_all(content, Container::kJson, piece),
                ElementsAre("1:1 {\"a\":1}", "4:1 {\"a\":\"\xC3\xA9\"}"))
        << piece;
  }
}

TEST(RecordReader, ListGivesEveryObjectWithItsPlace) {
  EXPECT_THAT(read_all("[\n {\"a\": \"}\\\"]\"}, {\"b\": [{}]}\n]\n", Container::kJson, 1),
              ElementsAre("2:2 {\"a\":\"}\\\"]\"}", "2:17 {\"b\":[{}]}"));
  EXPECT_THAT(read_all(" [ ] "), ElementsAre());
}

TEST(RecordReader, PlainTextIsOneRecordWithLineFeeds) {
  EXPECT_THAT(read_all("\xEF\xBB\xBFone\r\ntwo\rx\n", Container::kText, 1),
              ElementsAre("1:1 {\"text\":\"one\\ntwo\\rx\\n\"}"));
  EXPECT_THAT(read_all("", Container::kText), ElementsAre());
}

TEST(RecordReader, GzipIsSeenByItsBytesAndMembersFollowEachOther) {
  const std::string packed = gzip("{\"a\":1}\n{\"a\"") + gzip(":2}\n");
  for (const std::size_t piece : {1U, 65536U}) {
    EXPECT_THAT(read_all(packed, Container::kJson, piece),
                ElementsAre("1:1 {\"a\":1}", "2:1 {\"a\":2}"))
        << piece;
  }
}

TEST(RecordReader, DamagedGzipIsAnError) {
  const std::string packed = gzip("{\"a\":1}\n{\"a\":2}\n");
  for (std::size_t cut = 3; cut < packed.size(); ++cut) {
    EXPECT_EQ(error_of(packed.substr(0, cut)),
              "f: the gzip stream ends too early; the file is truncated")
        << cut;
  }
  std::string wrong_sum = packed;
  wrong_sum[wrong_sum.size() - 8] = static_cast<char>(wrong_sum[wrong_sum.size() - 8] ^ 1);
  EXPECT_EQ(error_of(wrong_sum), "f: the gzip stream is damaged: incorrect data check");
  EXPECT_THAT(error_of(packed + "tail"), StartsWith("f: the gzip stream is damaged"));
}

TEST(RecordReader, GzipThatExpandsTooMuchIsRefused) {
  auto source = unpack_if_compressed(open_memory(gzip(std::string(1 << 20, 'a'))), "bomb",
                                     {.free_bytes = 1 << 16, .max_ratio = 200});
  const auto drain = [&] {
    std::string buffer(4096, '\0');
    while (source->read(buffer.data(), buffer.size()) > 0) {
    }
  };
  EXPECT_THAT(message_of<core::FormatError>(drain),
              HasSubstr("bomb: the gzip stream expands more than 200 times"));
}

TEST(RecordReader, MalformedLineInTheMiddleIsNamed) {
  EXPECT_THAT(error_of("{\"a\":1}\n\n{\"a\":}\n{\"a\":2}\n"),
              StartsWith("f:3:6: not valid JSON: "));
  EXPECT_EQ(error_of("{\"a\":1}\n[2]\n"),
            "f:2:1: every record must be a JSON object; this one is of type array");
  EXPECT_EQ(error_of("plain words"),
            "f:1:1: not JSON: expected '{' (one object a line) or '[' (a list of objects)");
}

TEST(RecordReader, MalformedListIsNamed) {
  EXPECT_THAT(error_of("[{\"a\":1}, {\"b\":}]"), StartsWith("f:1:16: not valid JSON: "));
  EXPECT_THAT(error_of("[{\"a\":1},\n {\"b\":\"x\n\"}]"), StartsWith("f:2:9: not valid JSON: "));
  EXPECT_EQ(error_of("[{\"a\":1} {\"a\":2}]"), "f:1:10: expected ',' or ']' after a record");
  EXPECT_EQ(error_of("[{\"a\":1},]"), "f:1:10: every record of the list must be a JSON object");
  EXPECT_EQ(error_of("[3]"), "f:1:2: every record of the list must be a JSON object");
  EXPECT_EQ(error_of("[{\"a\":1}\n"),
            "f:2:1: expected ',' or ']' after a record; the file ends here");
  EXPECT_EQ(error_of("[{\"a\":1}] x"), "f:1:11: the file goes on after the end of the list");
  EXPECT_THAT(error_of("[{\"a\":1"), StartsWith("f:1:8: not valid JSON: "));
}

TEST(RecordReader, InvalidUtf8IsNamedWithLineAndColumn) {
  EXPECT_EQ(error_of("{\"a\":1}\n{\"a\":\"\xFF\"}\n"),
            "f:2:7: not valid UTF-8: no character begins with this byte");
  const std::vector<std::string> broken = {"\xC3(", "\xE0\x80\x80", "\xED\xA0\x80",
                                           "\xF4\x90\x80\x80", "\xE2\x82z"};
  for (const auto& bytes : broken) {
    EXPECT_EQ(error_of("a\nbc" + bytes, Container::kText),
              "f:2:3: not valid UTF-8: a character is broken off")
        << bytes;
  }
  EXPECT_EQ(error_of("ab\xE2\x82", Container::kText),
            "f:1:3: not valid UTF-8: the text ends in the middle of a character");
}

TEST(RecordReader, OtherEncodingsAndContainersAreNamed) {
  EXPECT_THAT(error_of(std::string("\xFF\xFE{\0", 4)), StartsWith("f:1:1: the file is UTF-16"));
  EXPECT_THAT(error_of(std::string("\xFE\xFF\0{", 4), Container::kText),
              StartsWith("f:1:1: the file is UTF-16"));
  EXPECT_THAT(error_of("{\n \"a\": 1\n}\n"),
              HasSubstr("each record stands on one line, or in a list"));
  for (const char* name : {"a.xlsx", "a.PDF.gz", "b.zip", "c.xz"}) {
    EXPECT_THAT(message_of<core::FormatError>([&] { refuse_other_containers(name, "auto"); }),
                HasSubstr("files are not read; write the data as JSONL"))
        << name;
    EXPECT_NO_THROW(refuse_other_containers(name, "text"));
  }
  for (const char* name : {"a.txt", "a.py", "a", "a.jsonl.gz", "a.csv", "a.parquet"})
    EXPECT_NO_THROW(refuse_other_containers(name, "auto")) << name;
}

TEST(RecordReader, SizesAreBounded) {
  const ReadLimits limits{.record_bytes = 20, .text_bytes = 5};
  EXPECT_THAT(error_of("{\"a\":1}\n{\"a\":\"0123456789012345\"}", Container::kJson, limits),
              HasSubstr("f:2:22: the line is longer than the 20 bytes a record may have"));
  EXPECT_THAT(error_of("[{\"a\":\"0123456789012345\"}]", Container::kJson, limits),
              HasSubstr("is longer than the 20 bytes"));
  EXPECT_THAT(error_of("123456", Container::kText, limits),
              HasSubstr("is longer than the 5 bytes"));
}

TEST(RecordReader, ContainerFollowsNameAndFormat) {
  EXPECT_EQ(container_of("a/b.jsonl", "auto"), Container::kJson);
  EXPECT_EQ(container_of("b.JSON.gz", "text"), Container::kJson);
  EXPECT_EQ(container_of("b.txt.gz", "auto"), Container::kText);
  EXPECT_EQ(container_of("b", "qa"), Container::kJson);
}

}  // namespace
}  // namespace corda::data
