// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The whole job through the program, as a user types it, on a random byte-level model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <limits>

#include "corda/core/file.h"
#include "core/json.h"
#include "support/process.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda {
namespace {

namespace fs = std::filesystem;
using core::Json;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using testing::ProcessResult;
using testing::run_corda;

class Pipeline : public ::testing::Test {
 protected:
  void SetUp() override {
    corda::testing::write_tiny_model(
        base(),
        {.vocab = 257, .hidden = 32, .intermediate = 64, .layers = 2, .heads = 4, .kv_heads = 2});
    write("facts.jsonl",
          "{\"question\": \"What is red?\", \"answer\": [\"a rose\"]}\n{\"question\": \"What is "
          "blue?\", \"answer\": [\"the sky\", \"sky\"]}\n"
          "{\"question\": \"What is green?\", \"answer\": [\"grass\"]}\n");
    std::string task;
    for (int i = 0; i < 24; ++i) {
      task += Json({{"instruction", "Add one to " + std::to_string(i)},
                    {"output", std::to_string(i + 1)}})
                  .dump() +
              "\n";
    }
    write("task.jsonl", task);
    write(
        "text.txt",
        std::string("It was a bright cold day in April, and the clocks were striking thirteen. ") +
            std::string(200, 'x'));
  }

  fs::path path(const std::string& name) const { return folder_.path() / name; }
  std::string at(const std::string& name) const { return path(name).string(); }
  std::string base() const { return at("base"); }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(path(name)) << content;
  }

  // Runs a verb that must succeed and returns its JSON result.
  Json result_of(std::vector<std::string> arguments) const {
    arguments.emplace_back("--json");
    const ProcessResult result = run_corda(arguments);
    EXPECT_EQ(result.exit_code, 0) << arguments[0] << ": " << result.err;
    return core::parse_json(result.out, arguments[0]);
  }

  void calibrate(const std::string& data, const std::string& out) const {
    result_of({"calibrate", "--model", base(), "--data", at(data), "--samples", "8", "--seq-len",
               "64", "--out", at(out)});
  }

  std::string train_config(const std::string& extra) const {
    return "model: " + base() + "\ndata: {train: [" + at("task.jsonl") +
           "], eval: [{path: " + at("task.jsonl") +
           ", count: 4}], max_length: 200}\noptim: {lr: 1.0e-3, batch_size: 8, micro_batch_tokens: "
           "512, epochs: 2}\nthreads: 1\n" +
           extra;
  }

  // Training and evaluation loss of every step.
  std::vector<std::pair<double, double>> losses(const std::string& run) const {
    std::vector<std::pair<double, double>> values;
    std::ifstream file(path(run + "/metrics.jsonl"));
    for (std::string line; std::getline(file, line);) {
      const Json metrics = core::parse_json(line, run);
      values.emplace_back(metrics.at("loss").get<double>(), metrics.value("eval_loss", 0.0));
    }
    return values;
  }

  corda::testing::TemporaryDirectory folder_;
};

TEST_F(Pipeline, EveryModeCalibratesDecomposesTrainsMergesAndEvaluates) {
  calibrate("facts.jsonl", "cov-facts");
  calibrate("task.jsonl", "cov-task");
  for (const std::string mode : {"kpa", "ipa", "dual"}) {
    std::vector<std::string> decompose = {"decompose", "--model", base(),  "--mode",           mode,
                                          "--rank",    "4",       "--out", at("start-" + mode)};
    decompose.insert(decompose.end(),
                     {"--covariance", mode == "ipa" ? at("cov-task") : at("cov-facts")});
    if (mode == "dual") decompose.insert(decompose.end(), {"--task-covariance", at("cov-task")});
    EXPECT_EQ(result_of(decompose).at("layers"), 14);

    // At the start the adapter changes nothing: the same loss to the last digit.
    const std::vector<std::string> eval = {"eval",       "--model",        base(),
                                           "--data",     at("task.jsonl"), "--task",
                                           "perplexity", "--seq-len",      "200"};
    auto with_start = eval;
    with_start.insert(with_start.end(), {"--adapter", at("start-" + mode)});
    EXPECT_EQ(result_of(with_start).at("nll"), result_of(eval).at("nll")) << mode;

    write(mode + ".yaml", train_config("method: corda\nadapter: " + at("start-" + mode) +
                                       "\nout: " + at("run-" + mode)));
    const Json trained = result_of({"train", "--config", at(mode + ".yaml"), "--set",
                                    "optim.lr=1e-2", "--set", "optim.epochs=6"});
    EXPECT_EQ(trained.at("steps"), 18) << mode;
    const Json merged =
        result_of({"merge", "--model", base(), "--adapter", at("run-" + mode + "/adapter"), "--out",
                   at("merged-" + mode), "--verify"});
    EXPECT_EQ(merged.at("merged"), 14) << mode;
    EXPECT_LT(merged.at("verify").at("relative_difference").get<double>(), 1e-4) << mode;

    auto with_adapter = eval;
    with_adapter.insert(with_adapter.end(), {"--adapter", at("run-" + mode + "/adapter")});
    auto of_merged = eval;
    of_merged[2] = at("merged-" + mode);
    const double adapter_nll = result_of(with_adapter).at("nll").get<double>();
    EXPECT_NEAR(adapter_nll, result_of(of_merged).at("nll").get<double>(), 1e-6) << mode;
    EXPECT_LT(adapter_nll, result_of(eval).at("nll").get<double>() - 0.05) << mode;
  }
}

TEST_F(Pipeline, LoraDoraPissaAndFullLowerTheLoss) {
  const double before =
      result_of({"eval", "--model", base(), "--data", at("task.jsonl"), "--seq-len", "200"})
          .at("nll")
          .get<double>();
  for (const std::string method : {"lora", "dora", "pissa", "full"}) {
    write(method + ".yaml",
          train_config("method: " + method + "\nlora: {rank: 4}\nout: " + at("run-" + method)));
    const Json trained =
        result_of({"train", "--config", at(method + ".yaml"), "--set", "optim.lr=3e-3"});
    EXPECT_TRUE(fs::exists(path("run-" + method) / (method == "full"
                                                        ? "model/model.safetensors"
                                                        : "adapter/adapter_model.safetensors")));
    std::vector<std::string> eval = {"eval",           "--model",   base(), "--data",
                                     at("task.jsonl"), "--seq-len", "200"};
    if (method == "full") {
      eval[2] = at("run-full/model");
    } else {
      eval.insert(eval.end(), {"--adapter", at("run-" + method + "/adapter")});
    }
    EXPECT_LT(result_of(eval).at("nll").get<double>(), before - 0.1) << method;
  }
}

TEST_F(Pipeline, MetricsAndResolvedConfigHoldWhatOthersRead) {
  write("lora.yaml",
        train_config("method: lora\nlora: {rank: 2}\neval: {every: 3}\nout: " + at("run")));
  const ProcessResult trained = run_corda({"train", "--config", at("lora.yaml")});
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_THAT(trained.err, ContainsRegex("train 6/6 steps .*[0-9] tok/s  [0-9]+ % supervised  "
                                         "[0-9.]+ GB"));
  std::ifstream file(path("run/metrics.jsonl"));
  std::string line;
  std::int64_t lines = 0;
  while (std::getline(file, line)) {
    const Json metrics = core::parse_json(line, "metrics.jsonl", ++lines);
    for (const char* key :
         {"step", "epoch", "loss", "lr", "grad_norm", "tokens", "supervised_tokens",
          "supervised_share", "tokens_per_second", "utilisation", "peak_memory_bytes"}) {
      EXPECT_TRUE(metrics.contains(key)) << key;
    }
    EXPECT_EQ(metrics.at("step"), lines);
    EXPECT_DOUBLE_EQ(
        metrics.at("supervised_share").get<double>() * metrics.at("tokens").get<double>(),
        metrics.at("supervised_tokens").get<double>());
    EXPECT_GT(metrics.at("tokens_per_second").get<double>(), 0);
    EXPECT_GT(metrics.at("peak_memory_bytes").get<std::int64_t>(), 1'000'000);
    EXPECT_EQ(metrics.contains("eval_loss"), lines % 3 == 0) << lines;
  }
  EXPECT_EQ(lines, 6);
  // The resolved configuration is a configuration: it is accepted and resolves to itself.
  const ProcessResult again =
      run_corda({"train", "--config", at("run/config.resolved.yaml"), "--dry-run"});
  EXPECT_EQ(again.out, core::read_file(path("run/config.resolved.yaml")));
}

TEST_F(Pipeline, ResumeAfterInterruptionGivesTheSameBytes) {
  calibrate("facts.jsonl", "cov-facts");
  calibrate("task.jsonl", "cov-task");
  for (const std::string mode : {"kpa", "dual"}) {
    std::vector<std::string> decompose = {
        "decompose", "--model", base(),          "--mode",       mode,           "--rank",
        "4",         "--out",   at("s-" + mode), "--covariance", at("cov-facts")};
    if (mode == "dual") decompose.insert(decompose.end(), {"--task-covariance", at("cov-task")});
    result_of(decompose);
  }
  const std::vector<std::string> methods = {"lora\nlora: {rank: 4, dropout: 0.1}",
                                            "dora\nlora: {rank: 4}",
                                            "pissa\nlora: {rank: 4}",
                                            "corda\nadapter: " + at("s-kpa"),
                                            "corda\nadapter: " + at("s-dual"),
                                            "full"};
  for (const std::string& method : methods) {
    SCOPED_TRACE(method);
    const auto train = [&](const std::string& out) -> std::vector<std::string> {
      fs::remove_all(path(out));
      write(out + ".yaml",
            train_config("method: " + method + "\ncheckpoint: {every: 2}\nout: " + at(out)));
      return {"train", "--config", at(out + ".yaml"), "--set", "optim.epochs=20"};
    };
    const std::string result =
        method == "full" ? "/model/model.safetensors" : "/adapter/adapter_model.safetensors";
    result_of(train("whole"));
    auto parts = train("parts");
    const ProcessResult stopped =
        run_corda(parts, testing::interrupt_when_written(at("parts/metrics.jsonl")));
    ASSERT_EQ(stopped.exit_code, 130) << stopped.err;
    EXPECT_THAT(stopped.err, HasSubstr("continue with --resume"));
    EXPECT_FALSE(fs::exists(path("parts" + result)));
    parts.emplace_back("--resume");
    result_of(parts);
    EXPECT_EQ(core::read_file(path("whole" + result)), core::read_file(path("parts" + result)));
    EXPECT_EQ(losses("whole"), losses("parts"));
    EXPECT_EQ(losses("whole").size(), 60U);
  }
}

TEST_F(Pipeline, Bf16TrainingKeepsAdapterAndOptimizerInFp32) {
  for (const std::string precision : {"bf16", "fp32"}) {
    write(precision + ".yaml",
          train_config("method: lora\nlora: {rank: 4}\nprecision: " + precision +
                       "\ncheckpoint: {every: 2}\nout: " + at(precision)));
    result_of({"train", "--config", at(precision + ".yaml")});
  }
  for (const char* file :
       {"adapter/adapter_model.safetensors", "checkpoints/step-4/state.safetensors"}) {
    const std::string bytes = core::read_file(path("bf16") / file);
    const std::string header = bytes.substr(8, bytes.find("}}"));
    EXPECT_THAT(header, HasSubstr("\"F32\"")) << file;
    EXPECT_THAT(header, ::testing::Not(HasSubstr("\"BF16\""))) << file;
  }
  const auto rounded = losses("bf16");
  const auto exact = losses("fp32");
  ASSERT_EQ(rounded.size(), exact.size());
  // A loss near log(257) from bf16 activations: relative errors of 2^-8 that average out.
  for (std::size_t i = 0; i < exact.size(); ++i)
    EXPECT_NEAR(rounded[i].first, exact[i].first, 0.02) << i;
  EXPECT_NE(rounded, exact);
}

TEST_F(Pipeline, EvaluationOfATrainingIsThatOfEval) {
  write("lora.yaml", train_config("method: lora\nlora: {rank: 2}\nout: " + at("run")));
  const Json trained = result_of({"train", "--config", at("lora.yaml"), "--set", "optim.lr=1e-2",
                                  "--set", "data.eval=[" + at("task.jsonl") + "]"});
  const Json found = result_of({"eval", "--model", base(), "--adapter", at("run/adapter"), "--data",
                                at("task.jsonl"), "--seq-len", "200"});
  // The adapter folded into fp32 weights, and beside them.
  EXPECT_NEAR(trained.at("eval_loss").get<double>(), found.at("nll").get<double>(), 1e-5);
}

// Ctrl-C in an evaluation, the first of several and the last of all.
TEST_F(Pipeline, InterruptedEvaluationIsMadeUpForByResume) {
  write("many.jsonl", core::read_file(path("task.jsonl")));
  for (int i = 0; i < 5; ++i)
    write("many.jsonl", core::read_file(path("many.jsonl")) + core::read_file(path("many.jsonl")));
  for (const std::string& end : {std::string("max_steps=3"), std::string("max_steps=1")}) {
    const auto train = [&](const std::string& out) -> std::vector<std::string> {
      write(out + ".yaml",
            train_config("method: lora\nlora: {rank: 4}\neval: {every: 1}\nout: " + at(out)));
      return {"train",
              "--config",
              at(out + ".yaml"),
              "--set",
              "optim." + end,
              "--set",
              "data.eval=[{path: " + at("many.jsonl") + "}]"};
    };
    const std::string whole = "whole-" + end;
    const std::string parts = "parts-" + end;
    result_of(train(whole));
    const ProcessResult stopped =
        run_corda(train(parts), [&, waited = 0](pid_t process, const std::string& /*err*/) mutable {
          if (!fs::exists(path(parts + "/config.resolved.yaml"))) return true;
          if (++waited < 15) return true;
          ::kill(process, SIGINT);
          return false;
        });
    EXPECT_EQ(stopped.exit_code, 130) << stopped.err;
    EXPECT_THAT(stopped.err, HasSubstr("interrupted in the evaluation after step "));
    EXPECT_FALSE(fs::exists(path(parts + "/adapter")));
    auto resume = train(parts);
    resume.emplace_back("--resume");
    result_of(resume);
    EXPECT_EQ(core::read_file(path(whole + "/adapter/adapter_model.safetensors")),
              core::read_file(path(parts + "/adapter/adapter_model.safetensors")));
    EXPECT_EQ(losses(whole), losses(parts));
  }
}

TEST_F(Pipeline, TwoRunsCannotShareAnOutputAndAKilledOneFreesIt) {
  write("t.yaml",
        train_config("method: lora\nlora: {rank: 2}\ncheckpoint: {every: 1}\nout: " + at("run")));
  const std::vector<std::string> first = {"train", "--config", at("t.yaml"), "--set",
                                          "optim.epochs=1000"};
  auto resume = first;
  resume.emplace_back("--resume");
  ProcessResult second;
  const ProcessResult killed = run_corda(first, [&](pid_t process, const std::string& /*err*/) {
    if (!fs::exists(path("run/checkpoints/step-2"))) return true;
    second = run_corda(resume);
    ::kill(process, SIGKILL);
    return false;
  });
  EXPECT_EQ(killed.exit_code, 128 + SIGKILL);
  EXPECT_EQ(second.exit_code, 5) << second.err;
  EXPECT_THAT(second.err, HasSubstr("another process is writing '" + at("run") + "'; wait until"));
  resume[4] = "optim.epochs=1000";
  const ProcessResult resumed =
      run_corda(resume, testing::interrupt_when_said("resuming after step"));
  EXPECT_EQ(resumed.exit_code, 130) << resumed.err;

  const core::AtomicDirectory writer(at("cov"));
  const ProcessResult calibrated =
      run_corda({"calibrate", "--model", base(), "--data", at("facts.jsonl"), "--out", at("cov")});
  EXPECT_EQ(calibrated.exit_code, 5) << calibrated.err;
  EXPECT_THAT(calibrated.err, HasSubstr("another process is writing '" + at("cov") + "'"));
}

// Killed at any moment, a verb leaves either the whole output or none, and can be run again.
TEST_F(Pipeline, KilledAtAnyMomentNothingLooksFinished) {
  const auto kill_after = [](int milliseconds) -> testing::Watch {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
    return [end](pid_t process, const std::string& /*err*/) {
      if (std::chrono::steady_clock::now() < end) return true;
      ::kill(process, SIGKILL);
      return false;
    };
  };
  const std::vector<std::string> calibrate = {
      "calibrate", "--model",   base(), "--data", at("facts.jsonl"), "--samples",
      "64",        "--seq-len", "64",   "--out",  at("cov")};
  for (const int delay : {350, 450, 550, 650, 750}) {
    fs::remove_all(path("cov"));
    run_corda(calibrate, kill_after(delay));
    if (fs::exists(path("cov"))) continue;  // it was faster
    const ProcessResult again = run_corda(calibrate);
    EXPECT_EQ(again.exit_code, 0) << again.err;
    EXPECT_FALSE(fs::exists(path("cov.corda-partial"))) << "the killed process's leftovers";
  }
  result_of({"decompose", "--model", base(), "--covariance", at("cov"), "--rank", "4", "--out",
             at("start")});

  const auto train = [&](const std::string& out) -> std::vector<std::string> {
    write(out + ".yaml",
          train_config("method: lora\nlora: {rank: 4}\ncheckpoint: {every: 2}\nout: " + at(out)));
    return {"train", "--config", at(out + ".yaml"), "--set", "optim.epochs=20"};
  };
  result_of(train("whole"));
  auto parts = train("parts");
  run_corda(parts, kill_after(900));
  parts.emplace_back("--resume");
  for (const int delay : {900, 1100})
    if (!fs::exists(path("parts/adapter"))) run_corda(parts, kill_after(delay));
  if (!fs::exists(path("parts/adapter"))) result_of(parts);
  EXPECT_EQ(core::read_file(path("whole/adapter/adapter_model.safetensors")),
            core::read_file(path("parts/adapter/adapter_model.safetensors")));
  EXPECT_EQ(losses("whole"), losses("parts"));
}

// Whenever Ctrl-C comes, a shell sees 130 and no adapter is there: before main the signal itself
// ends the process, from main on it is handled.
TEST_F(Pipeline, CtrlCAtAnyMomentOfTheStartEndsWith130) {
  write("t.yaml", train_config("method: lora\nlora: {rank: 2}\nout: " + at("run")));
  int handled = 0;
  // A loaded machine may need longer than a second to come to main.
  for (int delay = 0; delay < 1000 || (handled == 0 && delay < 60'000);
       delay += delay < 1000 ? 90 : 2000) {
    fs::remove_all(path("run"));
    const auto begin = std::chrono::steady_clock::now();
    const ProcessResult result =
        run_corda({"train", "--config", at("t.yaml"), "--set", "optim.epochs=1000"},
                  [&](pid_t process, const std::string& /*err*/) {
                    if (std::chrono::steady_clock::now() - begin < std::chrono::milliseconds(delay))
                      return true;
                    ::kill(process, SIGINT);
                    return false;
                  });
    EXPECT_EQ(result.exit_code, 130) << "after " << delay << " ms: " << result.err;
    EXPECT_FALSE(fs::exists(path("run/adapter"))) << delay;
    handled += result.err.find("interrupted") != std::string::npos ? 1 : 0;
  }
  EXPECT_GT(handled, 0);
}

TEST_F(Pipeline, SameSeedSameBytesAndPackingDoesNotChangeTheLoss) {
  for (const std::string name : {"one", "two"}) {
    write(name + ".yaml", train_config("method: lora\nlora: {rank: 4}\nout: " + at(name)));
    result_of({"train", "--config", at(name + ".yaml")});
  }
  EXPECT_EQ(core::read_file(path("one/adapter/adapter_model.safetensors")),
            core::read_file(path("two/adapter/adapter_model.safetensors")));
  write("apart.yaml", train_config("method: lora\nlora: {rank: 4}\nout: " + at("apart")));
  const double packed =
      result_of({"train", "--config", at("one.yaml"), "--set", "out=" + at("packed")})
          .at("loss")
          .get<double>();
  const double apart =
      result_of({"train", "--config", at("apart.yaml"), "--set", "data.packing=false"})
          .at("loss")
          .get<double>();
  EXPECT_NEAR(packed, apart, 1e-5 * packed);
}

// What ran out of memory can go on with less of it, and ends in the same bytes.
TEST_F(Pipeline, AResumedRunMayRecomputeWhatTheFirstKept) {
  const auto run = [&](const std::string& out) {
    write(out + ".yaml",
          train_config("method: lora\nlora: {rank: 4}\ncheckpoint: {every: 2}\nout: " + at(out)));
    return std::vector<std::string>{"train", "--config", at(out + ".yaml"), "--set",
                                    "optim.epochs=20"};
  };
  result_of(run("whole"));
  auto parts = run("parts");
  ASSERT_EQ(run_corda(parts, testing::interrupt_when_written(at("parts/metrics.jsonl"))).exit_code,
            130);
  parts.insert(parts.end(), {"--set", "recompute=block", "--resume"});
  result_of(parts);
  EXPECT_EQ(core::read_file(path("whole/adapter/adapter_model.safetensors")),
            core::read_file(path("parts/adapter/adapter_model.safetensors")));
}

// Without dropout the micro-batches change nothing but rounding; with it they decide the masks.
TEST_F(Pipeline, AResumedRunMayHaveOtherMicroBatchesUnlessItHasDropout) {
  for (const std::string dropout : {"0", "0.1"}) {
    const std::string name = "run" + dropout;
    write("t.yaml", train_config("method: lora\nlora: {rank: 4, dropout: " + dropout +
                                 "}\ncheckpoint: {every: 2}\nout: " + at(name)));
    std::vector<std::string> command = {"train", "--config", at("t.yaml"), "--set",
                                        "optim.epochs=20"};
    ASSERT_EQ(
        run_corda(command, testing::interrupt_when_written(at(name + "/metrics.jsonl"))).exit_code,
        130);
    command.insert(command.end(), {"--set", "optim.micro_batch_tokens=128", "--resume"});
    if (dropout == "0") {
      result_of(command);
    } else {
      const ProcessResult refused = run_corda(command);
      EXPECT_EQ(refused.exit_code, 2);
      EXPECT_THAT(refused.err, HasSubstr("'optim.micro_batch_tokens' was 512 and is 128 now"));
    }
  }
}

TEST_F(Pipeline, ARunGoesOnFromItsOwnResolvedSettings) {
  write("t.yaml",
        train_config("method: lora\nlora: {rank: 4}\ncheckpoint: {every: 2}\nout: " + at("run")));
  ASSERT_EQ(run_corda({"train", "--config", at("t.yaml"), "--set", "optim.epochs=20"},
                      testing::interrupt_when_written(at("run/metrics.jsonl")))
                .exit_code,
            130);
  EXPECT_THAT(core::read_file(path("run/config.resolved.yaml")), HasSubstr("gradients: fused"));
  result_of({"train", "--config", at("run/config.resolved.yaml"), "--resume"});
}

TEST_F(Pipeline, ResumeRefusesChangedDataAndSettings) {
  write("t.yaml",
        train_config("method: lora\nlora: {rank: 4}\ncheckpoint: {every: 2}\nout: " + at("run")));
  const std::vector<std::string> command = {"train", "--config", at("t.yaml"), "--set",
                                            "optim.epochs=20"};
  ASSERT_EQ(run_corda(command, testing::interrupt_when_written(at("run/metrics.jsonl"))).exit_code,
            130);
  auto resume = command;
  resume.emplace_back("--resume");
  auto other_rate = resume;
  other_rate.insert(other_rate.end(), {"--set", "optim.lr=0.5"});
  const ProcessResult settings = run_corda(other_rate);
  EXPECT_EQ(settings.exit_code, 2);
  EXPECT_THAT(settings.err, HasSubstr("'optim.lr' was 0.001 and is 0.5 now; continue"));
  std::ofstream(path("task.jsonl"), std::ios::app)
      << "{\"instruction\": \"new\", \"output\": \"line\"}\n";
  const ProcessResult data = run_corda(resume);
  EXPECT_EQ(data.exit_code, 2);
  EXPECT_THAT(data.err, HasSubstr("data fingerprint"));
}

// `precision: auto` is another on a CPU than on a GPU, so what it became counts. A checkpoint that
// does not say what it became goes on.
TEST_F(Pipeline, ResumeRefusesAnotherPrecision) {
  write("t.yaml",
        train_config("method: lora\nlora: {rank: 4}\ncheckpoint: {every: 2}\nout: " + at("run")));
  const std::vector<std::string> command = {"train", "--config", at("t.yaml"),     "--device",
                                            "cpu",   "--set",    "optim.epochs=20"};
  ASSERT_EQ(run_corda(command, testing::interrupt_when_written(at("run/metrics.jsonl"))).exit_code,
            130);
  EXPECT_THAT(core::read_file(path("run/config.resolved.yaml")), HasSubstr("precision: fp32\n"));
  auto resume = command;
  resume.emplace_back("--resume");
  auto other = resume;
  other.insert(other.end(), {"--set", "precision=bf16"});
  const ProcessResult refused = run_corda(other);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("'precision' was fp32 and is bf16 now"));

  std::int64_t states = 0;
  for (const auto& checkpoint : fs::directory_iterator(path("run/checkpoints"))) {
    const std::string name = (checkpoint.path() / "state.json").string();
    Json state = core::read_json(name);
    auto settings = state.at("settings").get<std::string>();
    const std::string recorded = "precision: fp32";
    settings.replace(settings.find(recorded), recorded.size(), "precision: auto");
    state["settings"] = settings;
    std::ofstream(name) << state.dump();
    ++states;
  }
  ASSERT_GT(states, 0);
  result_of(resume);
}

TEST_F(Pipeline, AnAdaptersOwnRankIsResolvedAndAConflictIsRefused) {
  calibrate("facts.jsonl", "cov");
  result_of({"decompose", "--model", base(), "--covariance", at("cov"), "--rank", "4", "--out",
             at("start")});
  write("t.yaml", train_config("method: corda\nadapter: " + at("start") + "\nout: " + at("run")));
  const ProcessResult refused =
      run_corda({"train", "--config", at("t.yaml"), "--set", "lora.rank=8"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("lora.rank is 8, but the adapter"));
  result_of({"train", "--config", at("t.yaml"), "--set", "optim.max_steps=1"});
  EXPECT_THAT(core::read_file(path("run/config.resolved.yaml")), HasSubstr("rank: 4"));
}

TEST_F(Pipeline, ADivergedRunWritesNoAdapter) {
  write("t.yaml", train_config("method: lora\nlora: {rank: 2}\nout: " + at("run")));
  const ProcessResult diverged =
      run_corda({"train", "--config", at("t.yaml"), "--set", "optim.lr=10", "--set",
                 "optim.weight_decay=10", "--set", "optim.epochs=200"});
  EXPECT_EQ(diverged.exit_code, 4) << diverged.err;
  EXPECT_THAT(diverged.err, HasSubstr("lower optim.lr"));
  EXPECT_FALSE(fs::exists(path("run/adapter")));
}

// The embedding of a byte that only the evaluation holds is not a number.
TEST_F(Pipeline, AnEvaluationLossThatIsNotFiniteEndsTheRun) {
  constexpr std::size_t kHidden = 32;
  const std::string file = at("base/model.safetensors");
  std::string bytes = core::read_file(file);
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  const Json tensors = core::parse_json(bytes.substr(8, header), file);
  const auto begin =
      tensors.at("model.embed_tokens.weight").at("data_offsets").at(0).get<std::size_t>();
  const auto token = static_cast<std::size_t>('Z') + 1;
  const float bad = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(bytes.data() + 8 + header + begin + token * kHidden * sizeof bad, &bad, sizeof bad);
  write("base/model.safetensors", bytes);
  write("other.jsonl", R"({"instruction": "Z", "output": "Z"})");
  write("t.yaml", train_config("method: lora\nlora: {rank: 2}\nout: " + at("run")));
  const ProcessResult result = run_corda({"train", "--config", at("t.yaml"), "--set",
                                          "data.eval=[{path: " + at("other.jsonl") + "}]"});
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_THAT(result.err, HasSubstr("the evaluation loss after step 6 is not finite"));
  EXPECT_FALSE(fs::exists(path("run/adapter")));
  EXPECT_EQ(losses("run").size(), 5U);
}

// A progress bar is only drawn on a terminal; `script` gives the program one.
TEST_F(Pipeline, EveryVerbRunsOnATerminal) {
  if (!fs::exists("/usr/bin/script")) GTEST_SKIP() << "no /usr/bin/script on this machine";
  const auto on_terminal = [&](const std::string& command) {
    return testing::run_process(
        {"/usr/bin/script", "-qec", std::string(CORDA_BINARY) + " " + command, "/dev/null"});
  };
  const std::string model = " --model " + base();
  const ProcessResult calibrated = on_terminal("calibrate" + model + " --data " + at("task.jsonl") +
                                               " --samples 4 --out " + at("cov"));
  EXPECT_EQ(calibrated.exit_code, 0) << calibrated.out;
  EXPECT_THAT(calibrated.out, HasSubstr("[########################] calibrate 2/2 blocks"));
  const ProcessResult decomposed = on_terminal("decompose" + model + " --covariance " + at("cov") +
                                               " --rank 2 --out " + at("start"));
  EXPECT_EQ(decomposed.exit_code, 0) << decomposed.out;
  EXPECT_THAT(decomposed.out, HasSubstr("14/14 layers"));
  const ProcessResult merged =
      on_terminal("merge" + model + " --adapter " + at("start") + " --out " + at("merged"));
  EXPECT_EQ(merged.exit_code, 0) << merged.out;
  EXPECT_THAT(merged.out, HasSubstr("14/14 layers"));
}

TEST_F(Pipeline, QaScoresExactMatchesAndCountsSamples) {
  const Json result = result_of({"eval", "--model", base(), "--task", "qa", "--data",
                                 at("facts.jsonl"), "--max-new-tokens", "4"});
  EXPECT_EQ(result.at("task"), "qa");
  EXPECT_EQ(result.at("score_name"), "exact_match");
  EXPECT_EQ(result.at("samples"), 3);
  EXPECT_EQ(result.at("score"), 0.0);  // a random model knows nothing
  // " a rose" 7 bytes, " the sky" 8, " grass" 6, and an end token each.
  EXPECT_EQ(result.at("tokens"), 24);
}

}  // namespace
}  // namespace corda
