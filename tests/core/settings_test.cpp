// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "support/temporary_directory.h"

namespace corda::core {
namespace {

using ::testing::HasSubstr;

struct Example {
  std::string model;
  std::int64_t rank = 128;
  double lr = 2e-5;
  bool packing = true;
  std::vector<std::string> targets = {"q_proj", "k_proj"};
};

SettingsList list_of(Example& example) {
  SettingsList list;
  list.add("model", example.model, "base model").required();
  list.add("lora.rank", example.rank, "rank", {1, 1 << 20});
  list.add("optim.lr", example.lr, "learning rate", {0, 1});
  list.add("data.packing", example.packing, "pack");
  list.add("lora.targets", example.targets, "layers");
  return list;
}

std::string error_of(const std::string& yaml) {
  Example example;
  try {
    list_of(example).read(parse_yaml(yaml, "train.yaml"));
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Settings, ReadsNestedMapsAndKeepsDefaults) {
  Example example;
  list_of(example).read(
      parse_yaml("model: m\noptim: {lr: 1.0e-4}\nlora:\n  targets: [o_proj]\n", "t"));
  EXPECT_EQ(example.model, "m");
  EXPECT_EQ(example.lr, 1e-4);
  EXPECT_EQ(example.rank, 128);
  EXPECT_EQ(example.targets, std::vector<std::string>{"o_proj"});
}

TEST(Settings, WhatAContinuedRunMayChangeDoesNotBindIt) {
  Example example;
  SettingsList list;
  list.add("optim.lr", example.lr, "learning rate");
  list.add("lora.rank", example.rank, "rank").free();
  list.add("data.packing", example.packing, "pack").free([&] { return example.lr == 1; });
  EXPECT_EQ(to_yaml(list.binding()), "optim:\n  lr: 2e-05\ndata:\n  packing: true\n");
  example.lr = 1;
  EXPECT_EQ(to_yaml(list.binding()), "optim:\n  lr: 1\n");
}

TEST(Settings, UnknownKeyNamesFileLineAndSuggestion) {
  EXPECT_THAT(error_of("model: m\noptim:\n  lrr: 1\n"),
              HasSubstr("train.yaml:3: unknown setting 'optim.lrr' (did you mean 'optim.lr'?)"));
  EXPECT_THAT(error_of("model: m\noptmi:\n  lr: 1\n"),
              HasSubstr("train.yaml:2: unknown setting 'optmi' (did you mean 'optim'?)"));
  EXPECT_THAT(error_of("model: m\noptim:\n  lrr:\n    - 1\n"),
              HasSubstr("train.yaml:3: unknown setting 'optim.lrr'"));
}

TEST(Settings, AValueOfTheWrongKindNamesItsKeysLine) {
  EXPECT_THAT(error_of("model:\n  - a\n  - b\n"),
              HasSubstr("train.yaml:1: 'model' must be a single value"));
  EXPECT_THAT(error_of("lora:\n  targets:\n    - a\n    - {b: c}\n"),
              HasSubstr("train.yaml:4: 'lora.targets' must be a single value"));
}

TEST(Settings, ReportsEveryProblemAtOnce) {
  const std::string message =
      error_of("lora: {rank: 0}\noptim: {lr: fast}\ndata: {packing: maybe}\n");
  EXPECT_THAT(error_of("lora: {rank: 2000000}\n"),
              HasSubstr("between 1 and 1048576; it is 2000000"));
  EXPECT_THAT(message,
              HasSubstr("train.yaml:1: 'lora.rank' must lie between 1 and 1048576; it is 0"));
  EXPECT_THAT(message, HasSubstr("train.yaml:2: 'optim.lr' must be a number; it is 'fast'"));
  EXPECT_THAT(message,
              HasSubstr("train.yaml:3: 'data.packing' must be true or false; it is 'maybe'"));
}

TEST(Settings, DuplicateKeyIsAnError) {
  EXPECT_THAT(error_of("model: a\nmodel: b\n"),
              HasSubstr("train.yaml:2: the key 'model' stands twice"));
}

TEST(Settings, ASecondYamlDocumentIsAnErrorWithItsLine) {
  EXPECT_THAT(error_of("model: a\n\n---\nmodel: b\n"),
              HasSubstr("train.yaml:4: a second YAML document begins here"));
  EXPECT_THAT(error_of("model: a\n...\n---\n"), HasSubstr("a second YAML document"));
  EXPECT_EQ(parse_yaml("# one document\n---\nmodel: a\n...\n", "t").find("model")->text, "a");
  EXPECT_EQ(parse_yaml("", "t").kind, ConfigNode::Kind::kNull);
}

TEST(Settings, ResolvedDumpReadsBackToTheSameValues) {
  Example written{
      .model = "m: with colon", .rank = 7, .lr = 0.1, .packing = false, .targets = {"a", "b"}};
  const testing::TemporaryDirectory folder;
  write_settings(folder.path(), list_of(written));
  Example read;
  list_of(read).read(parse_yaml(read_file(folder.path() / "settings.resolved.yaml"), "dump"));
  EXPECT_EQ(read.model, written.model);
  EXPECT_EQ(read.rank, 7);
  EXPECT_EQ(read.lr, 0.1);
  EXPECT_EQ(read.packing, false);
  EXPECT_EQ(read.targets, written.targets);
}

TEST(Settings, AssignmentOverridesAndBadOneIsRefused) {
  Example example;
  const SettingsList list = list_of(example);
  list.set_assignment("lora.targets=[up_proj, down_proj]");
  EXPECT_EQ(example.targets, (std::vector<std::string>{"up_proj", "down_proj"}));
  EXPECT_THROW(list.set_assignment("lora.targets"), ConfigError);
  EXPECT_THROW(list.check_required(), ConfigError);
}

TEST(Settings, CheckValuesFindsWhatWasSetFromCppAndChangesNothing) {
  Example example{.model = "", .rank = 7, .lr = 0.1, .packing = false, .targets = {"a, b", ""}};
  std::string mode = "kpa";
  SettingsList list = list_of(example);
  list.add("mode", mode, "words", {"kpa", "ipa"});
  list.check_values();
  EXPECT_EQ(example.rank, 7);
  EXPECT_EQ(example.lr, 0.1);
  EXPECT_EQ(example.targets, (std::vector<std::string>{"a, b", ""}));
  example.rank = 0;
  mode = "KPA";
  try {
    list.check_values();
    FAIL() << "nothing was thrown";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(),
                 "'lora.rank' must lie between 1 and 1048576; it is 0\n"
                 "'mode' must be one of kpa, ipa; it is 'KPA'");
  }
}

}  // namespace
}  // namespace corda::core
