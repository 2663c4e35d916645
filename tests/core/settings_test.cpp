// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/refuse_changed.h"
#include "core/json.h"
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

// What YAML 1.1, 1.2 and people write, read as what it means to all of them, or refused.
TEST(Settings, NumbersAreReadHoweverTheyAreWritten) {
  const auto rank_of = [](const std::string& text) {
    Example example;
    list_of(example).read(parse_yaml("lora: {rank: " + text + "}", "t"));
    return example.rank;
  };
  EXPECT_EQ(rank_of("1_000"), 1000);
  EXPECT_EQ(rank_of("1e3"), 1000);
  EXPECT_EQ(rank_of("2.0"), 2);
  EXPECT_EQ(rank_of("0x10"), 16);
  EXPECT_EQ(rank_of("0o17"), 15);
  EXPECT_EQ(rank_of("+8"), 8);
  EXPECT_EQ(rank_of("\"8\""), 8);
  const auto rate_of = [](const std::string& text) {
    Example example;
    list_of(example).read(parse_yaml("optim: {lr: " + text + "}", "t"));
    return example.lr;
  };
  EXPECT_EQ(rate_of("2e-5"), 2e-5);
  EXPECT_EQ(rate_of(".5"), 0.5);
  EXPECT_EQ(rate_of("0.000_02"), 2e-5);
  for (const std::string bad : {"2.5", "1__0", "_1", "1_", "0x", "0x1g", "-0x1", "1e400", ".inf",
                                "inf", "nan", ".nan", "1:30", "10%", "'8 '"}) {
    EXPECT_THAT(error_of("lora: {rank: " + bad + "}"),
                HasSubstr("train.yaml:1: 'lora.rank' must be a whole number; it is '"))
        << bad;
  }
  for (const std::string bad : {".inf", "inf", "nan", ".nan", "1.0.0", "0_.5"})
    EXPECT_THAT(error_of("optim: {lr: " + bad + "}"), HasSubstr("'optim.lr' must be a number"))
        << bad;
  EXPECT_THAT(error_of("\nlora:\n  rank: 010\n"),
              HasSubstr("train.yaml:3: 'lora.rank' is 010, which some programs read as octal and "
                        "others as decimal"));
}

TEST(Settings, AWholeNumberThatADoubleCannotHoldIsExact) {
  std::int64_t seed = 0;
  SettingsList list;
  list.add("seed", seed, "");
  list.read(parse_yaml("seed: 9007199254740993", "t"));
  EXPECT_EQ(seed, 9007199254740993);
  EXPECT_THROW(list.read(parse_yaml("seed: 9007199254740993.0e1", "t")), ConfigError);
}

TEST(Settings, YesAndNoAreReadInEveryCase) {
  for (const std::string word : {"Yes", "TRUE", "on", "True", "1"}) {
    Example example;
    example.packing = false;
    list_of(example).read(parse_yaml("data: {packing: " + word + "}", "t"));
    EXPECT_TRUE(example.packing) << word;
  }
  for (const std::string word : {"No", "FALSE", "Off", "0"}) {
    Example example;
    list_of(example).read(parse_yaml("data: {packing: " + word + "}", "t"));
    EXPECT_FALSE(example.packing) << word;
  }
  std::string train_a = "auto";
  SettingsList list;
  list.add("train_a", train_a, "", {"auto", "true", "false"});
  list.read(parse_yaml("train_a: No", "t"));
  EXPECT_EQ(train_a, "false");
}

// A key with nothing behind it may be a slip or mean the default; nobody can tell.
TEST(Settings, AnEmptyValueIsRefusedWhereItSaysNothing) {
  for (const std::string empty : {"", "~", "null"}) {
    EXPECT_THAT(error_of("optim:\n  lr: " + empty + "\n"),
                HasSubstr("train.yaml:2: 'optim.lr' has no value; give it one, or leave it out"));
    EXPECT_THAT(error_of("data:\n  packing: " + empty + "\n"), HasSubstr("has no value"));
  }
  std::string device = "auto";
  std::string adapter;
  SettingsList list;
  list.add("device", device, "");
  list.add("adapter", adapter, "");
  EXPECT_THROW(list.read(parse_yaml("device:\n", "t")), ConfigError);
  list.set_assignment("adapter=");  // of what may be empty it is the way to say so
  EXPECT_EQ(adapter, "");
  EXPECT_EQ(error_of("optim:\nlora:\n"), "no error");
}

TEST(Settings, AMissingSpaceBehindAColonIsNamed) {
  EXPECT_THAT(error_of("optim:\n  lr:1e-4\n"),
              HasSubstr("train.yaml:1: 'optim' must be a group of settings; put a space behind the "
                        "colon of 'lr:1e-4'"));
  EXPECT_THAT(error_of("optim: {lr:1e-4}\n"),
              HasSubstr("train.yaml:1: unknown setting 'optim.lr:1e-4'; put a space behind"));
  EXPECT_THAT(error_of("model:base\n"), HasSubstr("put a space behind the colon of 'model:base'"));
}

TEST(Settings, AKeyForAnchorsIsNoSetting) {
  Example example;
  list_of(example).read(
      parse_yaml("x-base: &b {lr: 1e-3}\noptim: {<<: *b}\nlora: {rank: 3}\n", "t"));
  EXPECT_EQ(example.lr, 1e-3);
  EXPECT_THAT(error_of("optim: {x-lr: 1}\n"), HasSubstr("unknown setting 'optim.x-lr'"));
}

TEST(Settings, AnUnknownNameThatIsExplainedGetsThatInPlaceOfASuggestion) {
  Example example;
  SettingsList list = list_of(example);
  list.explain([](std::string_view name) {
    return name == "learning_rate" || name == "optim" ? "use optim.lr" : "";
  });
  const auto refusal = [&](const std::string& yaml) {
    try {
      list.read(parse_yaml(yaml, "train.yaml"));
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(refusal("learning_rate: 1"),
            "train.yaml:1: unknown setting 'learning_rate': use optim.lr");
  EXPECT_EQ(refusal("optim: adamw"),
            "train.yaml:1: 'optim' must be a group of settings: use optim.lr");
  EXPECT_EQ(refusal("ler: 1"), "train.yaml:1: unknown setting 'ler' (did you mean 'optim.lr'?)");
}

TEST(Settings, PathsAreChangedWhereverTheyStand) {
  std::string model = "~/m";
  std::string text = "~/t";
  std::vector<std::string> files = {"a", "~/b"};
  ConfigNode maps = parse_yaml("[{path: ~/c, format: ~/d}]", "t");
  SettingsList list;
  list.add("model", model, "").path();
  list.add("text", text, "");
  list.add("files", files, "").path();
  list.add(Setting{.name = "maps",
                   .help = "",
                   .type = "list of files",
                   .read = [&](const ConfigNode& node) { maps = node; },
                   .write = [&] { return maps; }})
      .path();
  list.change_paths([](const std::string& path, PathKind kind) -> std::vector<std::string> {
    EXPECT_EQ(kind, PathKind::kOther);
    return {path.starts_with("~/") ? "/home/me/" + path.substr(2) : path};
  });
  EXPECT_EQ(model, "/home/me/m");
  EXPECT_EQ(text, "~/t");
  EXPECT_EQ(files, (std::vector<std::string>{"a", "/home/me/b"}));
  EXPECT_EQ(to_yaml(maps), "- path: /home/me/c\n  format: ~/d\n");
  try {
    list.change_paths([](const std::string&, PathKind) -> std::vector<std::string> {
      throw ConfigError("no home");
    });
    FAIL() << "nothing was thrown";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(), "'model': no home");
  }
}

TEST(Settings, AnItemThatStandsForSeveralPathsBecomesSeveralWhichShareItsWeight) {
  std::vector<std::string> files = {"*.a", "b"};
  ConfigNode maps =
      parse_yaml("[{path: '*.a', weight: 2}, {path: '*.a'}, {path: b, weight: 1}]", "t");
  std::string one = "*.a";
  SettingsList list;
  list.add("files", files, "").path(PathKind::kData);
  list.add(Setting{.name = "maps",
                   .help = "",
                   .type = "list of files",
                   .read = [&](const ConfigNode& node) { maps = node; },
                   .write = [&] { return maps; }})
      .path(PathKind::kData);
  const auto change = [](const std::string& path, PathKind kind) -> std::vector<std::string> {
    EXPECT_EQ(kind, PathKind::kData);
    if (path == "*.a") return {"1.a", "2.a"};
    return {path};
  };
  list.change_paths(change);
  EXPECT_EQ(files, (std::vector<std::string>{"1.a", "2.a", "b"}));
  EXPECT_EQ(to_yaml(maps),
            "- path: 1.a\n  weight: 2\n  source: \"*.a\"\n"
            "- path: 2.a\n  weight: 2\n  source: \"*.a\"\n"
            "- path: 1.a\n- path: 2.a\n- path: b\n  weight: 1\n");
  SettingsList single;
  single.add("one", one, "").path(PathKind::kData);
  try {
    single.change_paths(change);
    FAIL() << "nothing was thrown";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(), "'one': '*.a' stands for 2 files, and one is wanted here");
  }
}

TEST(Settings, TheSchemaSaysWhatReadTakes) {
  std::string model;
  std::string mode = "a";
  std::int64_t rank = 8;
  std::vector<double> betas = {0.9};
  std::vector<std::string> names;
  SettingsList list;
  list.add("model", model, "a model").required();
  list.add("lora.mode", mode, "how", {"a", "true"});
  list.add("lora.rank", rank, "of it", {1, 64});
  list.add("betas", betas, "two", {0, 1});
  list.add(Setting{.name = "files",
                   .help = "data",
                   .type = "list of files",
                   .entries = {Setting{.name = "path", .help = "a file", .type = "text"}}});
  const Json schema = parse_json(list.json_schema("title"), "schema");
  EXPECT_EQ(schema["required"], Json::array({"model"}));
  EXPECT_EQ(schema["additionalProperties"], false);
  const Json& lora = schema["properties"]["lora"];
  EXPECT_EQ(lora["additionalProperties"], false);
  EXPECT_EQ(lora["properties"]["mode"],
            (Json{{"enum", {"a", "true", true}}, {"description", "how [a]"}}));
  EXPECT_EQ(
      lora["properties"]["rank"],
      (Json{{"type", "integer"}, {"minimum", 1}, {"maximum", 64}, {"description", "of it [8]"}}));
  const Json number = {{"type", "number"}, {"minimum", 0}, {"maximum", 1}};
  EXPECT_EQ(schema["properties"]["betas"]["anyOf"],
            Json::array({Json{{"type", "array"}, {"items", number}}, number}));
  const Json& file = schema["properties"]["files"]["anyOf"][1]["anyOf"];
  EXPECT_EQ(file[0], (Json{{"type", "string"}}));
  EXPECT_EQ(file[1]["properties"]["path"]["description"], "a file");
}

TEST(Settings, HelpIsOfASettingOrAGroup) {
  Example example;
  const SettingsList list = list_of(example);
  EXPECT_EQ(list.help("optim.lr"),
            "optim.lr: learning rate\n  number from 0 to 1; default: 2e-05\n");
  EXPECT_EQ(
      list.help("rank"),
      "lora.rank: rank\n  integer from 1 to 1048576; default: 128\nBeside it: lora.targets\n");
  EXPECT_EQ(list.help("model"), "model: base model\n  text; required\n");
  EXPECT_EQ(list.help("lora"),
            "| setting | type | default | meaning |\n|---|---|---|---|\n"
            "| `lora.rank` | integer | 128 | rank |\n"
            "| `lora.targets` | list | q_proj, k_proj | layers |\n");
  EXPECT_THROW(list.help("lorra"), ConfigError);
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

TEST(Settings, AGroupThatIsAssignedNamesSettingsOfIt) {
  Example example;
  std::int64_t number = 0;
  double share = 0;
  SettingsList list = list_of(example);
  for (const char* name : {"many.a", "many.b", "many.c", "many.d", "many.e"})
    list.add(name, number, "");
  list.add("data.replay.share", share, "");
  const auto refusal = [&](const std::string& assignment) {
    try {
      list.set_assignment(assignment);
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(refusal("lora={rank: 3}"), "--set: 'lora' is a group; set lora.rank, lora.targets");
  EXPECT_EQ(refusal("lora=3"), "--set: 'lora' is a group; set lora.rank, lora.targets");
  EXPECT_EQ(refusal("data.replay={share: 0.5}"),
            "--set: 'data.replay' is a group; set data.replay.share");
  EXPECT_EQ(refusal("many={}"),
            "--set: 'many' is a group; set many.a, many.b, many.c, many.d, ...");
  list.explain([](std::string_view name) { return name == "optim" ? "it is AdamW" : ""; });
  EXPECT_EQ(refusal("optim=adamw"), "--set: 'optim' is a group; set optim.lr; it is AdamW");
  EXPECT_EQ(example.rank, 128);
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

TEST(Settings, WhatNothingLooksAtIsRefusedUnlessItHasItsUsualValue) {
  const auto refusal = [](const Example& example, const std::vector<std::string>& names) {
    try {
      refuse_changed(example, list_of, names, "for adapters");
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  Example example;
  example.lr = 1e-4;
  example.packing = false;
  example.targets = {"k_proj", "q_proj"};
  EXPECT_EQ(refusal(example, {"optim.lr"}), "'optim.lr' is for adapters");
  EXPECT_EQ(refusal(example, {"lora.targets", "lora.rank", "data.packing"}),
            "'lora.targets', 'data.packing' are for adapters");
  EXPECT_EQ(refusal(example, {"lora.rank", "model"}), "nothing");
  EXPECT_EQ(refusal({}, {"lora.rank", "optim.lr"}), "nothing");
  EXPECT_EQ(example.lr, 1e-4) << "the caller's own values stay";
  EXPECT_THROW(refusal(example, {"lora.rang"}), InternalError);
}

}  // namespace
}  // namespace corda::core
