// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Help texts, exit codes and bad input, seen from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "corda/core/file.h"
#include "support/process.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::ProcessResult;
using testing::run_corda;

class Errors : public ::testing::Test {
 protected:
  void SetUp() override {
    corda::testing::write_tiny_model(
        base(),
        {.vocab = 257, .hidden = 16, .intermediate = 16, .layers = 1, .heads = 2, .kv_heads = 1});
    write("task.jsonl", "{\"instruction\": \"a\", \"output\": \"b\"}\n");
  }
  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string base() const { return at("base"); }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(folder_.path() / name) << content;
  }

  // The run must fail with this code, one line that holds the text, and nothing on stdout.
  void expect_failure(const std::vector<std::string>& arguments, int code,
                      const std::string& text) const {
    const ProcessResult result = run_corda(arguments);
    EXPECT_EQ(result.exit_code, code) << result.err;
    EXPECT_THAT(result.err, HasSubstr("corda: error: "));
    EXPECT_THAT(result.err, HasSubstr(text));
    EXPECT_EQ(result.out, "");
  }

  std::vector<std::string> calibrate(const std::string& data) const {
    return {"calibrate", "--model", base(),     "--data", at(data),
            "--out",     at("out"), "--device", "cpu"};
  }
  std::vector<std::string> train(const std::string& extra) const {
    write("t.yaml", "model: " + base() + "\nmethod: lora\nlora: {rank: 2}\ndata: {train: [" +
                        at("task.jsonl") + "]}\nout: " + at("run") + "\n" + extra);
    return {"train", "--config", at("t.yaml")};
  }

  corda::testing::TemporaryDirectory folder_;
};

TEST_F(Errors, HelpListsEveryVerbAndItsFlags) {
  const ProcessResult all = run_corda({"--help"});
  EXPECT_EQ(all.exit_code, 0);
  for (const char* verb : {"calibrate", "decompose", "train", "merge", "eval", "generate", "chat",
                           "preview", "tokenize"}) {
    EXPECT_THAT(all.out, HasSubstr(verb));
    const ProcessResult one = run_corda({verb, "--help"});
    EXPECT_EQ(one.exit_code, 0) << verb;
    EXPECT_THAT(one.out, HasSubstr("--json")) << verb;
  }
  EXPECT_THAT(run_corda({"calibrate", "--help"}).out, HasSubstr("--activation-scaling"));
  EXPECT_THAT(run_corda({"decompose", "--help"}).out,
              HasSubstr("kpa|ipa|dual|null|sc|eva|milora|mica"));
  EXPECT_THAT(run_corda({"--version"}).out, HasSubstr("corda 0."));
}

TEST_F(Errors, UsageErrorsExitWithTwo) {
  expect_failure({}, 2, "--help");
  expect_failure({"trian"}, 2, "there is no verb 'trian' (did you mean 'train'?)");
  expect_failure({"calibrate", "--modle", "x"}, 2,
                 "corda calibrate has no flag '--modle' (did you mean '--model'?); try --help");
  expect_failure({"train", "--confg=x"}, 2, "no flag '--confg' (did you mean '--config'?)");
  expect_failure({"calibrate", "model"}, 2, "corda calibrate takes flags only; it got 'model'");
  expect_failure({"calibrate"}, 2, "missing settings 'model', 'data', 'out'");
  expect_failure(
      {"decompose", "--mode", "kpq"}, 2,
      "'mode' must be one of kpa, ipa, dual, null, sc, eva, milora, mica, cloq; it is 'kpq' "
      "(did you mean 'kpa'?)");
  expect_failure({"train", "--learning-rate", "1"}, 2,
                 "corda train has no flag '--learning-rate': use optim.lr; try --help");
  expect_failure({"train", "--optim.lr=1"}, 2,
                 "no flag '--optim.lr'; give it in the file of --config or as --set optim.lr=...");
  expect_failure({"calibrate", "--samples", "many"}, 2,
                 "'samples' must be a whole number; it is 'many'");
}

TEST_F(Errors, UnknownYamlKeyNamesFileLineAndSuggestion) {
  expect_failure(train("optim: {lr_rate: 1}\n"), 2, "t.yaml:6: unknown setting 'optim.lr_rate'");
  expect_failure(train("sede: 1\n"), 2, "(did you mean 'seed'?)");
  expect_failure(train("optim: {lr: [\n"), 3, "not valid YAML");
}

TEST_F(Errors, MissingFilesExitWithThree) {
  expect_failure(
      {"calibrate", "--model", at("nowhere"), "--data", at("task.jsonl"), "--out", at("out")}, 3,
      "nowhere' is not a Hugging Face model directory: it does not exist");
  expect_failure(calibrate("nothing.jsonl"), 3, "nothing.jsonl");
  EXPECT_FALSE(fs::exists(at("out")));
  expect_failure({"tokenize", "--model", at("nowhere"), "--data", at("task.jsonl")}, 3,
                 "nowhere' is not a model directory: it does not exist");
  const std::vector<std::string> decompose = {"decompose", "--model", base(),     "--covariance",
                                              at("cov"),   "--out",   at("start")};
  expect_failure(decompose, 3, "it does not exist; make one with corda calibrate");
  fs::create_directory(at("cov.work"));
  expect_failure(decompose, 3, "it does not exist; its calibration was not finished");
}

TEST_F(Errors, ARunInPlaceOfItsAdapterIsPointedOut) {
  fs::create_directories(at("run/adapter"));
  write("run/adapter/adapter_config.json", "{}");
  expect_failure({"merge", "--model", base(), "--adapter", at("run"), "--out", at("merged")}, 3,
                 "it holds no adapter_config.json; did you mean '" + at("run/adapter") + "'?");
}

TEST_F(Errors, DataOfAComparisonThatIsNotAskedForAreRefused) {
  expect_failure({"merge", "--model", base(), "--adapter", at("run"), "--out", at("merged"),
                  "--data", at("task.jsonl")},
                 2,
                 "--data is what --verify compares on, or several values of --scale are measured "
                 "on; give one of the two");
}

TEST_F(Errors, SeveralScalesNeedDataAndWriteNothing) {
  const std::vector<std::string> merge = {"merge",   "--model", base(), "--adapter",
                                          at("run"), "--scale", "0.5,1"};
  const auto with = [&](std::initializer_list<std::string> more) {
    std::vector<std::string> command = merge;
    command.insert(command.end(), more);
    return command;
  };
  expect_failure(with({}), 2, "several values of --scale give a curve of losses; name what to");
  expect_failure(with({"--data", at("task.jsonl"), "--out", at("merged")}), 2,
                 "several values of --scale give a curve of losses and write no model; leave out");
  expect_failure({"merge", "--model", base(), "--adapter", at("run")}, 2, "missing setting 'out'");
}

TEST_F(Errors, AFinishedRunIsRefusedBeforeTheDataAreRead) {
  fs::create_directories(at("run/adapter"));
  fs::remove(at("task.jsonl"));
  expect_failure(train(""), 2, "holds a finished run; choose another --out");
}

TEST_F(Errors, MoreTokensThanTheModelsPositionsAreWarnedOf) {
  write("long.txt", std::string(600, 'a'));
  const auto evaluate = [&](const std::string& length) {
    return run_corda({"eval", "--model", base(), "--data", at("long.txt"), "--seq-len", length});
  };
  EXPECT_THAT(evaluate("513").err,
              HasSubstr("a window of 513 tokens (--seq-len) is longer than the 512 positions"));
  EXPECT_THAT(evaluate("512").err, ::testing::Not(HasSubstr("positions")));
  EXPECT_EQ(evaluate("0").out, evaluate("512").out) << "the default";
  EXPECT_NE(evaluate("0").out, evaluate("200").out);
  EXPECT_EQ(evaluate("1").exit_code, 2);
  // A space and an end token follow the prompt.
  write("task.jsonl", "{\"prompt\": \"" + std::string(599, 'a') + "\", \"completion\": \"\"}\n");
  auto arguments = train("");
  arguments.insert(arguments.end(),
                   {"--set", "data.max_length=700", "--set", "data.template=plain"});
  EXPECT_THAT(run_corda(arguments).err,
              HasSubstr("a sample of 601 tokens is longer than the 512 positions"));
}

TEST_F(Errors, MalformedJsonNamesItsLine) {
  write("bad.jsonl",
        "{\"instruction\": \"a\", \"output\": \"b\"}\n{\"instruction\": \"a\", \"output\": }\n");
  expect_failure(calibrate("bad.jsonl"), 3, "bad.jsonl:2:");
  EXPECT_FALSE(fs::exists(at("out")));
}

TEST_F(Errors, EmptyDataIsRefused) {
  write("empty.jsonl", "");
  const ProcessResult result = run_corda(calibrate("empty.jsonl"));
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, HasSubstr("empty.jsonl: the file is empty"));
}

TEST_F(Errors, TruncatedSafetensorsAreRefused) {
  const fs::path weights = fs::path(base()) / "model.safetensors";
  fs::resize_file(weights, fs::file_size(weights) - 100);
  expect_failure(calibrate("task.jsonl"), 3, "truncated");
  fs::resize_file(weights, 5);
  expect_failure(calibrate("task.jsonl"), 3, "not a safetensors file");
  EXPECT_FALSE(fs::exists(at("out")));
}

TEST_F(Errors, CorruptSafetensorsAndWrongShapesAreRefused) {
  const std::string weights = base() + "/model.safetensors";
  const std::string sound = core::read_file(weights);
  std::string corrupt = sound;
  corrupt[8 + 2] = '\xff';  // in the header's JSON
  core::write_file_atomic(weights, corrupt);
  expect_failure(calibrate("task.jsonl"), 3, "not valid JSON");
  core::write_file_atomic(weights, sound);
  const std::string config_file = base() + "/config.json";
  std::string config = core::read_file(config_file);
  const std::string width = "\"intermediate_size\": 16";
  ASSERT_NE(config.find(width), std::string::npos) << config;
  config.replace(config.find(width), width.size(), "\"intermediate_size\": 24");
  core::write_file_atomic(config_file, config);
  expect_failure(calibrate("task.jsonl"), 3, "up_proj.weight' must be [24, 16], it is [16, 16]");
  expect_failure(train(""), 3, "down_proj.weight' must be [16, 24], it is [16, 16]");
  EXPECT_FALSE(fs::exists(at("out")));
  EXPECT_FALSE(fs::exists(at("run/adapter")));
}

TEST_F(Errors, ZeroSupervisedTokensAreRefused) {
  write("task.jsonl", "{\"instruction\": \"" + std::string(400, 'a') + "\", \"output\": \"b\"}\n");
  auto arguments = train("");
  arguments.insert(arguments.end(), {"--set", "data.max_length=32"});
  expect_failure(arguments, 2, "supervised");
  EXPECT_FALSE(fs::exists(at("run/adapter")));
}

TEST_F(Errors, AMaxLengthThatHoldsNoTargetIsRefusedForItsRange) {
  auto arguments = train("");
  arguments.insert(arguments.end(), {"--set", "data.max_length=1"});
  expect_failure(arguments, 2, "'data.max_length' must lie between 2 and 1073741824; it is 1");
}

TEST_F(Errors, RankAboveTheLayersWidthIsRefused) {
  auto arguments = train("");
  arguments.insert(arguments.end(), {"--set", "lora.rank=17"});
  expect_failure(arguments, 2, "lora.rank 17 is larger than");
  expect_failure(arguments, 2, "set it to at most 8 or leave such layers out");
  ASSERT_EQ(
      run_corda({"calibrate", "--model", base(), "--data", at("task.jsonl"), "--out", at("cov")})
          .exit_code,
      0);
  expect_failure({"decompose", "--model", base(), "--covariance", at("cov"), "--rank", "17",
                  "--out", at("start")},
                 2, "set it to at most 8 or leave such layers out of --target-modules");
  EXPECT_FALSE(fs::exists(at("start")));
}

TEST_F(Errors, AnExistingOutputIsNotOverwritten) {
  ASSERT_EQ(
      run_corda({"calibrate", "--model", base(), "--data", at("task.jsonl"), "--out", at("cov")})
          .exit_code,
      0);
  expect_failure({"calibrate", "--model", base(), "--data", at("task.jsonl"), "--out", at("cov")},
                 2, "already exists");
}

TEST_F(Errors, StdoutOnAFullDiskIsAResourceError) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full on this machine";
  const ProcessResult result =
      corda::testing::run_process({"/bin/sh", "-c",
                                   std::string(CORDA_BINARY) + " tokenize --model " + base() +
                                       " --data " + at("task.jsonl") + " > /dev/full"});
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_THAT(result.err, HasSubstr("disk full"));
}

TEST_F(Errors, ResultsThatDoNotReachStdoutAreAResourceError) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full on this machine";
  for (const std::string& command :
       {"eval --model " + base() + " --data " + at("task.jsonl") + " --json",
        std::string("train --settings"), std::string("--help")}) {
    const ProcessResult result = corda::testing::run_process(
        {"/bin/sh", "-c", std::string(CORDA_BINARY) + " " + command + " > /dev/full"});
    EXPECT_EQ(result.exit_code, 5) << command;
    EXPECT_THAT(result.err, HasSubstr("cannot write to stdout")) << command;
  }
}

TEST_F(Errors, AReadOnlyOrImpossibleOutputIsRefusedBeforeTheWork) {
  auto arguments = calibrate("task.jsonl");
  arguments[6] = "/proc/no/out";
  expect_failure(arguments, 5, "cannot create '/proc/no/out.corda-partial'");
  arguments[6] = "/proc";
  expect_failure(arguments, 2, "'/proc' is a mount point");
}

TEST_F(Errors, WeightsThatAreNotNumbersAreNumericalErrors) {
  const std::string weights = base() + "/model.safetensors";
  std::string bytes = core::read_file(weights);
  const auto header = static_cast<std::ptrdiff_t>(bytes.find("}}") + 2);  // all after it is data
  std::fill(bytes.begin() + header + 8, bytes.end(), '\xff');
  core::write_file_atomic(weights, bytes);
  expect_failure({"eval", "--model", base(), "--data", at("task.jsonl")}, 4, "the loss is ");
  expect_failure(calibrate("task.jsonl"), 4, "is not finite");
  expect_failure(
      {"decompose", "--method", "pissa", "--model", base(), "--rank", "2", "--out", at("start")}, 4,
      "NaN");
  expect_failure(train(""), 4, "step 1: the loss is ");
  EXPECT_FALSE(fs::exists(at("run/adapter")));
}

// The file-size limit stands in for a full disk: writes fail in the middle of a file.
TEST_F(Errors, AFullDiskLeavesNoOutput) {
  ASSERT_EQ(run_corda({"decompose", "--method", "pissa", "--model", base(), "--rank", "2", "--out",
                       at("start")})
                .exit_code,
            0);
  const std::string of_base = " --model " + base();
  train("optim: {max_steps: 1}\n");  // writes t.yaml
  const std::vector<std::string> commands = {
      "merge" + of_base + " --adapter " + at("start"),
      "calibrate" + of_base + " --storage full --samples 1 --data " + at("task.jsonl"),
      "train --config " + at("t.yaml"), "train --set method=full --config " + at("t.yaml")};
  for (const std::string& command : commands) {
    const std::string blocks = command.starts_with("calibrate") ? "2" : "4";  // of 512 bytes
    const ProcessResult full = corda::testing::run_process(
        {"/bin/sh", "-c",
         "ulimit -f " + blocks + "; exec " + CORDA_BINARY + " " + command + " --out " + at("out")});
    EXPECT_EQ(full.exit_code, 5) << command << full.err;
    EXPECT_THAT(full.err, HasSubstr("free some space")) << command;
    for (const auto& entry : fs::recursive_directory_iterator(folder_.path())) {
      const std::string name = entry.path().string().substr(at("out").size());
      if (!entry.path().string().starts_with(at("out"))) continue;
      EXPECT_TRUE(name.empty() || name == "/metrics.jsonl" || name == "/config.resolved.yaml" ||
                  name.starts_with(".work"))
          << command << ": " << name;
    }
    fs::remove_all(at("out"));
  }
}

TEST_F(Errors, AnOutputWhosePathIsNoUtf8IsNoError) {
  const std::string latin = at("caf\xe9");
  const ProcessResult result = run_corda({"decompose", "--method", "pissa", "--model", base(),
                                          "--rank", "2", "--out", latin, "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("caf\xef\xbf\xbd\""));  // the replacement character
  EXPECT_TRUE(fs::exists(latin + "/adapter_model.safetensors"));
}

TEST_F(Errors, ANumberTooLargeNamesItsLine) {
  write(
      "big.jsonl",
      "{\"instruction\": \"a\", \"output\": \"b\"}\n{\"instruction\": 1e999, \"output\": \"b\"}\n");
  expect_failure(calibrate("big.jsonl"), 3, "big.jsonl:2");
}

TEST_F(Errors, ACovarianceOfAnotherModelIsRefused) {
  ASSERT_EQ(
      run_corda({"calibrate", "--model", base(), "--data", at("task.jsonl"), "--out", at("cov")})
          .exit_code,
      0);
  corda::testing::write_tiny_model(at("other"), {.vocab = 257,
                                                 .hidden = 16,
                                                 .intermediate = 16,
                                                 .layers = 1,
                                                 .heads = 2,
                                                 .kv_heads = 2,
                                                 .seed = 2});
  const ProcessResult result = run_corda({"decompose", "--model", at("other"), "--covariance",
                                          at("cov"), "--rank", "2", "--out", at("start")});
  EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_FALSE(fs::exists(at("start")));
}

TEST_F(Errors, NoGpuIsAResourceError) {
  auto arguments = calibrate("task.jsonl");
  arguments.back() = "cuda:99";
  expect_failure(arguments, 5, "cuda:99");
}

}  // namespace
}  // namespace corda
