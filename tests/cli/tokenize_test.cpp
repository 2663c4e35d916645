// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// `corda tokenize`, seen from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "support/process.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda {
namespace {

using ::testing::HasSubstr;
using testing::ProcessResult;

class Tokenize : public ::testing::Test {
 protected:
  void SetUp() override { testing::write_tiny_model(folder_.path() / "base", {.vocab = 257}); }
  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(folder_.path() / name) << content;
  }
  ProcessResult tokenize(const std::string& data, std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"tokenize", "--model", at("base"), "--data", at(data)});
    return testing::run_corda(more);
  }

  testing::TemporaryDirectory folder_;
};

TEST_F(Tokenize, LinesBecomeIdsAndIdsLines) {
  const std::string lines = "hello\n\nA b\u00e9 \U0001F600\n";
  write("lines.txt", lines);
  EXPECT_THAT(tokenize("lines.txt").out, ::testing::StartsWith("[0,105,102,109,109,112]\n[0]\n"));
  const ProcessResult encoded = tokenize("lines.txt", {"--no-special-tokens"});
  ASSERT_EQ(encoded.exit_code, 0) << encoded.err;
  EXPECT_THAT(encoded.out, ::testing::StartsWith("[105,102,109,109,112]\n[]\n[66,33,99,"));
  write("ids.jsonl", encoded.out);
  EXPECT_EQ(tokenize("ids.jsonl", {"--decode"}).out, lines);
  EXPECT_EQ(tokenize("ids.jsonl", {"--decode", "--json"}).out,
            "\"hello\"\n\"\"\n\"A b\u00e9 \U0001F600\"\n");
}

TEST_F(Tokenize, GzippedLinesAreTheLines) {
  write("lines.txt", "hello\nA\n");
  ASSERT_EQ(testing::run_process({"/bin/sh", "-c", "gzip -k '" + at("lines.txt") + "'"}).exit_code,
            0);
  EXPECT_EQ(tokenize("lines.txt.gz").out, "[0,105,102,109,109,112]\n[0,66]\n");
}

// Text is read as every other verb reads it.
TEST_F(Tokenize, ByteOrderMarkAndCarriageReturnsOfLineEndsAreNoText) {
  write("plain.txt", "hello\n\nA\rb\n");
  write("marked.txt", "\xEF\xBB\xBFhello\r\n\r\nA\rb\r\n");
  const ProcessResult plain = tokenize("plain.txt");
  EXPECT_EQ(plain.out, "[0,105,102,109,109,112]\n[0]\n[0,66,14,99]\n");
  EXPECT_EQ(tokenize("marked.txt").out, plain.out);
  for (const std::string& wide : {std::string("\xFF\xFEh\0i\0", 6), std::string("h\0i\0", 4)}) {
    write("wide.txt", wide);
    const ProcessResult result = tokenize("wide.txt");
    EXPECT_EQ(result.exit_code, 3);
    EXPECT_THAT(result.err, HasSubstr("wide.txt:1:1: the file is UTF-16; only UTF-8 is read"));
  }
}

TEST_F(Tokenize, WhatIsNoIdIsRefusedWithItsLine) {
  for (const std::string ids : {"[99999999999]", "[18446744073709551615]", "[1.5]", "{}"}) {
    write("ids.txt", "[1]\n" + ids + "\n");
    const ProcessResult result = tokenize("ids.txt", {"--decode"});
    EXPECT_EQ(result.exit_code, 3) << ids;
    EXPECT_THAT(result.err, HasSubstr("ids.txt:2: expected a JSON array of token ids")) << ids;
  }
}

TEST_F(Tokenize, IdsBeyondTheTokenizerAreNoText) {
  write("ids.txt", "[105,300,-1,102]\n[300]\n");
  EXPECT_EQ(tokenize("ids.txt", {"--decode"}).out, "he\n\n");
}

}  // namespace
}  // namespace corda
