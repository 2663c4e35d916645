// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Hostile safetensors files, built by hand.
#include "corda/io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "corda/core/error.h"
#include "support/captured_log.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"

namespace corda::io {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string little_endian(std::uint64_t value) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>((value >> (8 * i)) & 0xff);
  return bytes;
}

class Safetensors : public ::testing::Test {
 protected:
  fs::path file() const { return folder_.path() / "x.safetensors"; }
  void write(const std::string& bytes) const { std::ofstream(file(), std::ios::binary) << bytes; }
  // The file of this header and so many bytes of data.
  void write(const std::string& header, std::size_t data) const {
    write(little_endian(header.size()) + header + std::string(data, '\1'));
  }
  // What opening it says, without the file's name before it.
  std::string refusal() const {
    const std::string error =
        corda::testing::error_of<core::FormatError>([&] { SafetensorsFile opened(file()); });
    EXPECT_THAT(error, HasSubstr(file().string()));
    const std::size_t at = error.find(file().string());
    return at == std::string::npos ? error : error.substr(at + file().string().size());
  }
  std::string refusal(const std::string& header, std::size_t data) const {
    write(header, data);
    return refusal();
  }

  corda::testing::TemporaryDirectory folder_;
};

TEST_F(Safetensors, ASoundFileIsReadAsWritten) {
  write(
      R"({"__metadata__": {"format": "pt"}, "b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},)"
      R"( "a": {"dtype": "BF16", "shape": [], "data_offsets": [8, 10]}})",
      10);
  const SafetensorsFile opened(file());
  ASSERT_EQ(opened.tensors().size(), 2U);
  EXPECT_EQ(opened.tensors().at("a").dtype, DType::kBF16);
  EXPECT_THAT(opened.tensors().at("a").shape, IsEmpty());
  EXPECT_THAT(opened.tensors().at("b").shape, ElementsAre(2));
  EXPECT_EQ(opened.data("a").size(), 2U);
  EXPECT_EQ(opened.data("b").size(), 8U);
  EXPECT_EQ(opened.metadata().at("format"), "pt");
}

TEST_F(Safetensors, NoTensorsAndEmptyTensorsAreSound) {
  write("{}", 0);
  EXPECT_THAT(SafetensorsFile(file()).tensors(), IsEmpty());
  write(R"({"e": {"dtype": "F32", "shape": [0, 4], "data_offsets": [0, 0]}})", 0);
  EXPECT_EQ(SafetensorsFile(file()).data("e").size(), 0U);
}

TEST_F(Safetensors, LengthOfTheHeaderIsChecked) {
  write("");
  EXPECT_EQ(refusal(), "': not a safetensors file: only 0 bytes");
  write("1234567");
  EXPECT_EQ(refusal(), "': not a safetensors file: only 7 bytes");
  write(little_endian(100) + "{}");
  EXPECT_EQ(refusal(),
            "': truncated: the header needs 100 bytes, the file has 2; download or copy it again");
  write(little_endian(100'000'001) + "{}");
  EXPECT_EQ(refusal(), "': not a safetensors file: its header would have 100000001 bytes");
  write(little_endian(UINT64_MAX) + "{}");
  EXPECT_EQ(refusal(),
            "': not a safetensors file: its header would have 18446744073709551615 bytes");
}

TEST_F(Safetensors, HeaderMustBeAJsonObject) {
  EXPECT_THAT(refusal("", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal("{\"a\": ", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal("[1, 2]", 0), EndsWith("the header must be a JSON object"));
  EXPECT_THAT(refusal("{} {}", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(std::string(600, '[') + std::string(600, ']'), 0),
              EndsWith("JSON nested deeper than 512 levels"));
  EXPECT_THAT(refusal(std::string(90'000, '['), 0), EndsWith("nested deeper than 512 levels"));
  EXPECT_THAT(
      refusal("{\"a\xff\": {\"dtype\": \"U8\", \"shape\": [1], \"data_offsets\": [0, 1]}}", 1),
      HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(R"({"__metadata__": 3})", 0), EndsWith("'__metadata__' must be an object"));
}

TEST_F(Safetensors, ATensorThatStandsTwiceIsRefused) {
  EXPECT_THAT(refusal(R"({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},)"
                      R"("a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}})",
                      2),
              HasSubstr("the JSON key 'a' stands twice in one object"));
}

TEST_F(Safetensors, MalformedTensorsAreNamed) {
  const auto tensor = [&](const std::string& dtype, const std::string& shape,
                          const std::string& offsets) {
    return refusal("{\"w\": {\"dtype\": " + dtype + ", \"shape\": " + shape +
                       ", \"data_offsets\": " + offsets + "}}",
                   8);
  };
  EXPECT_EQ(tensor("\"F12\"", "[2]", "[0, 8]"), "': tensor 'w': unknown dtype \"F12\"");
  EXPECT_EQ(tensor("4", "[2]", "[0, 8]"), "': tensor 'w': unknown dtype 4");
  EXPECT_EQ(tensor("\"F32\"", "2", "[0, 8]"), "': tensor 'w': malformed shape 2");
  EXPECT_EQ(tensor("\"F32\"", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]", "[0, 8]"),
            "': tensor 'w': malformed shape [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]");
  EXPECT_EQ(tensor("\"F32\"", "[-2]", "[0, 8]"),
            "': tensor 'w': a size must be a non-negative whole number; it is -2");
  EXPECT_EQ(tensor("\"F32\"", "[2.0]", "[0, 8]"),
            "': tensor 'w': a size must be a non-negative whole number; it is 2.0");
  EXPECT_EQ(
      tensor("\"F32\"", "[18446744073709551615]", "[0, 8]"),
      "': tensor 'w': a size must be a non-negative whole number; it is 18446744073709551615");
  EXPECT_EQ(tensor("\"F32\"", "[2]", "[0]"), "': tensor 'w': malformed data_offsets [0]");
  EXPECT_EQ(tensor("\"F32\"", "[2]", "[8, 0]"), "': tensor 'w': data_offsets [8,0] run backwards");
  EXPECT_EQ(tensor("\"F32\"", "[2]", "[0, 9223372036854775808]"),
            "': tensor 'w': a size must be a non-negative whole number; it is 9223372036854775808");
  EXPECT_EQ(tensor("\"F32\"", "[3]", "[0, 8]"),
            "': tensor 'w': F32 [3] needs 12 bytes, data_offsets give 8");
  EXPECT_EQ(tensor("\"BF16\"", "[2]", "[0, 8]"),
            "': tensor 'w': BF16 [2] needs 4 bytes, data_offsets give 8");
  EXPECT_EQ(refusal(R"({"w": {"shape": [2], "data_offsets": [0, 8]}})", 8),
            "': tensor 'w': the key 'dtype' is missing");
  EXPECT_EQ(refusal(R"({"w": [1]})", 8), "': tensor 'w': the key 'dtype' is missing");
}

TEST_F(Safetensors, ShapesThatOverflowAreRefused) {
  write(R"({"w": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]}})", 0);
  EXPECT_THAT(refusal(), HasSubstr("4294967296 x 4294967296 does not fit in 63 bits"));
  // 2^62 elements fit, their bytes do not.
  write(R"({"w": {"dtype": "F32", "shape": [4611686018427387904], "data_offsets": [0, 0]}})", 0);
  EXPECT_THAT(refusal(), HasSubstr("4611686018427387904 x 4 does not fit in 63 bits"));
}

TEST_F(Safetensors, DataMustBeCoveredOnceAndWhole) {
  const auto two = [&](const std::string& a, const std::string& b, std::size_t data) {
    return refusal("{\"a\": {\"dtype\": \"U8\", \"shape\": [4], \"data_offsets\": " + a +
                       "}, \"b\": {\"dtype\": \"U8\", \"shape\": [4], \"data_offsets\": " + b +
                       "}}",
                   data);
  };
  EXPECT_EQ(two("[0, 4]", "[2, 6]", 8),
            "': tensor 'b' begins at byte 2 of the data, expected 4 (tensors overlap or leave a "
            "hole)");
  EXPECT_EQ(two("[0, 4]", "[0, 4]", 8),
            "': tensor 'b' begins at byte 0 of the data, expected 4 (tensors overlap or leave a "
            "hole)");
  EXPECT_EQ(two("[0, 4]", "[6, 10]", 10),
            "': tensor 'b' begins at byte 6 of the data, expected 4 (tensors overlap or leave a "
            "hole)");
  EXPECT_EQ(two("[0, 4]", "[4, 8]", 9),
            "': the tensors end at byte 8 of the data, but the file holds 9");
  EXPECT_EQ(two("[0, 4]", "[4, 8]", 7),
            "': truncated: tensor 'b' ends at byte 8 of the data, but the file holds only 7; "
            "download or copy it again");
  EXPECT_EQ(two("[0, 4]", "[9223372036854775803, 9223372036854775807]", 8),
            "': truncated: tensor 'b' ends at byte 9223372036854775807 of the data, but the file "
            "holds only 8; download or copy it again");
}

TEST_F(Safetensors, WhatIsNoRegularFileIsAnIoError) {
  EXPECT_THAT(corda::testing::error_of<core::IoError>([&] { SafetensorsFile opened(file()); }),
              HasSubstr("No such file or directory"));
  fs::create_directory(file());
  EXPECT_THAT(corda::testing::error_of<core::IoError>([&] { SafetensorsFile opened(file()); }),
              HasSubstr("is not a regular file"));
}

TEST_F(Safetensors, AMissingTensorIsNamed) {
  write("{}", 0);
  const SafetensorsFile opened(file());
  EXPECT_EQ(corda::testing::error_of<core::FormatError>([&] { opened.data("w"); }),
            "'" + file().string() + "' has no tensor 'w'");
}

TEST_F(Safetensors, AnIndexNamesFilesOfItsFolderOnly) {
  for (const std::string name :
       {"../x.safetensors", "/x.safetensors", "..", ".x.safetensors", ""}) {
    std::ofstream(folder_.path() / "model.safetensors.index.json")
        << R"({"weight_map": {"w": ")" << name << "\"}}";
    EXPECT_THAT(
        corda::testing::error_of<core::FormatError>([&] { Checkpoint opened(folder_.path()); }),
        HasSubstr("the file of 'w' must be a plain file name; it is \"" + name + "\""));
  }
}

// One line, however many tensors of a stale index are not where it says.
TEST_F(Safetensors, OfManyTensorsThatTheIndexMisplacesAFewAreNamed) {
  write("{}", 0);
  {
    std::ofstream index(folder_.path() / "model.safetensors.index.json");
    for (int i = 0; i < 500; ++i)
      index << (i == 0 ? "{\"weight_map\": {" : ", ") << "\"model.layers." << i
            << ".w\": \"x.safetensors\"";
    index << "}}";
  }
  const std::string error =
      corda::testing::error_of<core::FormatError>([&] { Checkpoint opened(folder_.path()); });
  EXPECT_THAT(error, HasSubstr("'model.layers.0.w' is missing from x.safetensors; "));
  EXPECT_THAT(error, EndsWith(" and 492 more"));
  EXPECT_LT(error.size(), 1000U);
}

// A file of one byte tensor.
void write_byte(const fs::path& path, const std::string& tensor, char value) {
  SafetensorsWriter writer(path);
  writer.declare(tensor, DType::kU8, {1});
  writer.write(tensor, std::as_bytes(std::span(&value, 1)));
  writer.finish();
}

class ModelDirectory : public ::testing::Test {
 protected:
  void shard(const std::string& name, const std::string& tensor, char value) const {
    write_byte(at(name), tensor, value);
  }
  void index(const std::string& map) const {
    std::ofstream(at("model.safetensors.index.json")) << R"({"weight_map": )" << map << "}";
  }
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  std::string disagreement() const {
    return corda::testing::error_of<core::FormatError>([&] { Checkpoint opened(folder_.path()); });
  }
  std::string log() const {
    CapturedLog log;
    open_model(folder_.path(), log);
    return log.text;
  }

  corda::testing::TemporaryDirectory folder_;
};

TEST_F(ModelDirectory, AWholeFileGoesBeforeAnIndexAndWhatIsNotReadIsNamed) {
  shard("model.safetensors", "w", 'n');
  shard("model-00001-of-00001.safetensors", "w", 'o');
  shard("consolidated.safetensors", "w", 'c');
  index(R"({"w": "model-00001-of-00001.safetensors"})");
  const Checkpoint opened(folder_.path());
  EXPECT_EQ(static_cast<char>(opened.data("w")[0]), 'n');
  EXPECT_EQ(opened.index_name(), "");
  EXPECT_THAT(opened.unread(),
              ElementsAre("'model-00001-of-00001.safetensors'", "'model.safetensors.index.json'"));
  EXPECT_THAT(log(), HasSubstr("warning: '" + folder_.path().string() +
                               "': the weights are those of model.safetensors, as in transformers; "
                               "not read: 'model-00001-of-00001.safetensors', "
                               "'model.safetensors.index.json'"));
}

TEST_F(ModelDirectory, AnIndexOfAWholeFileThatNamesItIsNoContradiction) {
  shard("model.safetensors", "w", 'n');
  index(R"({"w": "model.safetensors"})");
  EXPECT_EQ(log(), "");
  index(R"({"w": "model.safetensors", "v": "model.safetensors"})");
  EXPECT_THAT(log(), HasSubstr("not read: 'model.safetensors.index.json'"));
  index("broken");
  EXPECT_THAT(log(), HasSubstr("not read: 'model.safetensors.index.json'"));
}

TEST_F(ModelDirectory, ShardsThatNoIndexNamesAreReported) {
  shard("model-00001-of-00001.safetensors", "w", 'n');
  shard("model-00001-of-00002.safetensors", "w", 'o');
  index(R"({"w": "model-00001-of-00001.safetensors"})");
  EXPECT_THAT(log(), HasSubstr("the weights are those of model.safetensors.index.json, as in "
                               "transformers; not read: 'model-00001-of-00002.safetensors'"));
}

TEST_F(ModelDirectory, AnAdapterInsideAModelIsReported) {
  shard("model.safetensors", "w", 'n');
  std::ofstream(at("adapter_config.json")) << "{}";
  EXPECT_THAT(log(), HasSubstr("also holds an adapter (adapter_config.json)"));
}

TEST_F(ModelDirectory, WeightsThatTheConfigurationNamesMustBeThoseThatAreRead) {
  shard("model.safetensors", "w", 'n');
  std::ofstream(at("config.json")) << R"({"transformers_weights": "model.safetensors"})";
  EXPECT_EQ(log(), "");
  std::ofstream(at("config.json")) << R"({"transformers_weights": "other.safetensors"})";
  EXPECT_THAT(corda::testing::error_of<core::FormatError>([&] { log(); }),
              HasSubstr("'transformers_weights' is \"other.safetensors\", which transformers would "
                        "load, but corda reads model.safetensors"));
}

TEST_F(ModelDirectory, MissingShardsAreNamedWithTheIndex) {
  shard("a.safetensors", "w", 'n');
  index(R"({"w": "a.safetensors", "v": "b.safetensors", "u": "c.safetensors"})");
  EXPECT_THAT(corda::testing::error_of<core::IoError>([&] { Checkpoint opened(folder_.path()); }),
              HasSubstr("index.json' names 2 of 3 files that are not there: 'b.safetensors', "
                        "'c.safetensors'"));
}

TEST_F(ModelDirectory, AnIndexOfAnyLengthIsNotRead) {
  index("{}");
  fs::resize_file(at("model.safetensors.index.json"), 100'000'001);
  EXPECT_THAT(corda::testing::error_of<core::IoError>([&] { Checkpoint opened(folder_.path()); }),
              HasSubstr("has 100000001 bytes, more than the 100000000"));
}

TEST_F(ModelDirectory, AnIndexThatIsWrongAboutItsShardsIsRefused) {
  shard("a.safetensors", "w", 'n');
  shard("b.safetensors", "v", 'n');
  index(R"({"w": "a.safetensors", "v": "b.safetensors", "u": "b.safetensors"})");
  EXPECT_THAT(disagreement(), HasSubstr("'u' is missing from b.safetensors"));
  index(R"({"w": "b.safetensors", "v": "a.safetensors"})");
  EXPECT_THAT(disagreement(), HasSubstr("'w' stands in a.safetensors but not so in the index"));
  shard("b.safetensors", "w", 'o');
  index(R"({"w": "a.safetensors", "v": "b.safetensors"})");
  EXPECT_THAT(disagreement(),
              HasSubstr("'w' stands in two shards, a.safetensors and b.safetensors"));
  index(R"({"w": "a.safetensors", "w": "b.safetensors"})");
  EXPECT_THAT(disagreement(), HasSubstr("the JSON key 'w' stands twice in one object"));
}

using Metadata = std::map<std::string, std::string>;

SafetensorsLayout two_tensors() {
  SafetensorsLayout layout(Metadata{{"format", "pt"}});
  layout.declare("b", DType::kU8, {4});
  layout.declare("a", DType::kU8, {2, 2});
  return layout;
}

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

TEST_F(Safetensors, InPlaceInAnyOrderGivesTheFileOfTheWriter) {
  const fs::path in_place = folder_.path() / "in-place.safetensors";
  {
    SafetensorsWriter writer(file(), two_tensors());
    writer.write("b", bytes("1234"));
    writer.write("a", bytes("5678"));
    writer.finish();
  }
  {
    SafetensorsInPlace first(in_place, two_tensors());
    EXPECT_TRUE(first.is_new());
    EXPECT_FALSE(fs::exists(in_place)) << "nothing was written";
    first.write("a", bytes("5678"));
    first.flush();
  }
  SafetensorsInPlace second(in_place, two_tensors());
  EXPECT_FALSE(second.is_new());
  second.write("b", bytes("1234"));
  second.flush();
  EXPECT_EQ(core::read_file(in_place), core::read_file(file()));
}

TEST_F(Safetensors, InPlaceBeginsAnewWhereTheLayoutIsAnother) {
  { SafetensorsInPlace(file(), two_tensors()).write("a", bytes("5678")); }
  SafetensorsLayout other(Metadata{{"format", "pt"}});
  other.declare("b", DType::kU8, {4});
  other.declare("c", DType::kU8, {2, 2});  // of the same length
  {
    SafetensorsInPlace renamed(file(), other);
    EXPECT_TRUE(renamed.is_new());
    renamed.write("b", bytes("1234"));
  }
  EXPECT_EQ(SafetensorsFile(file()).data("c")[0], std::byte{0});
  fs::resize_file(file(), fs::file_size(file()) - 1);
  EXPECT_TRUE(SafetensorsInPlace(file(), other).is_new());
}

TEST_F(Safetensors, InPlaceRefusesWhatTheLayoutDoesNotHave) {
  SafetensorsInPlace target(file(), two_tensors());
  EXPECT_THROW(target.write("c", bytes("1234")), core::InternalError);
  EXPECT_THROW(target.write("a", bytes("123")), core::InternalError);
}

}  // namespace
}  // namespace corda::io
