// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Trainings that are interrupted, killed or continued, seen from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <optional>
#include <set>

#include "cli/job.h"
#include "corda/core/error.h"
#include "corda/core/file.h"

namespace corda {
namespace {

namespace fs = std::filesystem;
using core::Json;
using ::testing::HasSubstr;
using testing::ProcessResult;
using testing::run_corda;

using TrainResume = testing::Job;

TEST_F(TrainResume, ResumeAfterInterruptionGivesTheSameBytes) {
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
    const ProcessResult stopped = interrupted(parts, "parts");
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

// Ctrl-C in an evaluation, the first of several and the last of all.
TEST_F(TrainResume, InterruptedEvaluationIsMadeUpForByResume) {
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
    // Nothing tells from outside that an evaluation has begun: where the signal came before, a
    // later one is tried.
    ProcessResult stopped;
    for (int wait = 15; wait <= 240; wait *= 2) {
      stopped = testing::run_disturbed(
          train(parts),
          [&, waited = 0](pid_t process, const std::string& /*err*/) mutable {
            if (!fs::exists(path(parts + "/config.resolved.yaml"))) return true;
            if (++waited < wait) return true;
            ::kill(process, SIGINT);
            return false;
          },
          [&] { fs::remove_all(path(parts)); });
      if (stopped.err.find("in the evaluation") != std::string::npos) break;
    }
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

TEST_F(TrainResume, TwoRunsCannotShareAnOutputAndAKilledOneFreesIt) {
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
TEST_F(TrainResume, KilledAtAnyMomentNothingLooksFinished) {
  const auto kill_after = [](const auto& begun, int milliseconds) -> testing::Watch {
    using Clock = std::chrono::steady_clock;
    return [begun, milliseconds, since = std::optional<Clock::time_point>()](
               pid_t process, const std::string& /*err*/) mutable {
      if (!since && begun()) since = Clock::now();
      if (!since || Clock::now() - *since < std::chrono::milliseconds(milliseconds)) return true;
      ::kill(process, SIGKILL);
      return false;
    };
  };
  const std::vector<std::string> calibrate = {
      "calibrate", "--model",   base(), "--data", at("facts.jsonl"), "--samples",
      "64",        "--seq-len", "64",   "--out",  at("cov")};
  int hit = 0;
  for (const int delay : {0, 5, 10, 20, 40}) {
    testing::run_disturbed(calibrate,
                           kill_after([&] { return fs::exists(path("cov.work")); }, delay),
                           [&] { fs::remove_all(path("cov")); });
    if (fs::exists(path("cov"))) continue;  // it was faster
    hit += fs::exists(path("cov.work")) || fs::exists(path("cov.corda-partial")) ? 1 : 0;
    const ProcessResult again = run_corda(calibrate);
    EXPECT_EQ(again.exit_code, 0) << again.err;
    EXPECT_FALSE(fs::exists(path("cov.corda-partial"))) << "the killed process's leftovers";
    EXPECT_FALSE(fs::exists(path("cov.work"))) << "the killed process's leftovers";
  }
  EXPECT_GT(hit, 0) << "no kill came while a covariance was made";
  result_of({"decompose", "--model", base(), "--covariance", at("cov"), "--rank", "4", "--out",
             at("start")});

  const auto train = [&](const std::string& out) -> std::vector<std::string> {
    write(out + ".yaml",
          train_config("method: lora\nlora: {rank: 4}\ncheckpoint: {every: 2}\nout: " + at(out)));
    return {"train", "--config", at(out + ".yaml"), "--set", "optim.epochs=20"};
  };
  result_of(train("whole"));
  auto parts = train("parts");
  const auto has_step = [&](int least) {
    return [this, least] {
      std::error_code ignored;
      for (const auto& entry : fs::directory_iterator(path("parts/checkpoints"), ignored)) {
        const std::string name = entry.path().filename().string();
        if (name.find('.') == std::string::npos && std::stoi(name.substr(5)) >= least) return true;
      }
      return false;
    };
  };
  const ProcessResult killed = testing::run_disturbed(parts, kill_after(has_step(2), 0),
                                                      [&] { fs::remove_all(path("parts")); });
  EXPECT_EQ(killed.exit_code, 128 + SIGKILL) << killed.err;
  EXPECT_FALSE(fs::exists(path("parts/adapter")));
  parts.emplace_back("--resume");
  for (const int step : {10, 20})
    if (!fs::exists(path("parts/adapter"))) run_corda(parts, kill_after(has_step(step), 3));
  if (!fs::exists(path("parts/adapter"))) result_of(parts);
  EXPECT_EQ(core::read_file(path("whole/adapter/adapter_model.safetensors")),
            core::read_file(path("parts/adapter/adapter_model.safetensors")));
  EXPECT_EQ(losses("whole"), losses("parts"));
}

// Nothing is set for it: kill -9 costs what was done since the last checkpoint by time.
TEST_F(TrainResume, AKilledRunGoesOnFromACheckpointByTime) {
  const auto train = [&](const std::string& out) -> std::vector<std::string> {
    write(out + ".yaml", train_config("method: lora\nlora: {rank: 4}\ncheckpoint: {minutes: "
                                      "1.0e-6}\nout: " +
                                      at(out)));
    return {"train", "--config", at(out + ".yaml"), "--set", "optim.epochs=20"};
  };
  result_of(train("whole"));
  auto parts = train("parts");
  const ProcessResult killed = testing::run_disturbed(
      parts,
      [&](pid_t process, const std::string& /*err*/) {
        // A checkpoint still being written has a longer name, and is not one to go on from.
        if (!fs::exists(path("parts/checkpoints/step-1/state.json")) &&
            !fs::exists(path("parts/checkpoints/step-2/state.json")))
          return true;
        ::kill(process, SIGKILL);
        return false;
      },
      [&] { fs::remove_all(path("parts")); });
  ASSERT_EQ(killed.exit_code, 128 + SIGKILL) << killed.err;
  const ProcessResult anew = run_corda(parts);
  EXPECT_EQ(anew.exit_code, 2);
  EXPECT_THAT(anew.err, HasSubstr("holds an unfinished run; continue it with --resume"));
  parts.emplace_back("--resume");
  result_of(parts);
  EXPECT_EQ(core::read_file(path("whole/adapter/adapter_model.safetensors")),
            core::read_file(path("parts/adapter/adapter_model.safetensors")));
  EXPECT_EQ(losses("whole"), losses("parts"));
}

// Whenever Ctrl-C comes, a shell sees 130 and no adapter is there: before main the signal itself
// ends the process, from main on it is handled.
TEST_F(TrainResume, CtrlCAtAnyMomentOfTheStartEndsWith130) {
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

// Checkpoints are ordered by number: ten comes after nine.
TEST_F(TrainResume, TheNewestCheckpointsAreKept) {
  for (const std::string keep : {"1", "2"}) {
    write("t.yaml", train_config("method: lora\nlora: {rank: 2}\ncheckpoint: {every: 1, keep: " +
                                 keep + "}\nout: " + at("run" + keep)));
    result_of({"train", "--config", at("t.yaml"), "--set", "optim.max_steps=11"});
    std::set<std::string> found;
    for (const auto& entry : fs::directory_iterator(path("run" + keep + "/checkpoints")))
      found.insert(entry.path().filename().string());
    std::set<std::string> expected = {"step-10"};  // after the last step the adapter is there
    if (keep == "2") expected.insert("step-9");
    EXPECT_EQ(found, expected);
  }
}

// What ran out of memory can go on with less of it, and ends in the same bytes.
TEST_F(TrainResume, AResumedRunMayRecomputeWhatTheFirstKept) {
  const auto run = [&](const std::string& out) {
    write(out + ".yaml",
          train_config("method: lora\nlora: {rank: 4}\ncheckpoint: {every: 2}\nout: " + at(out)));
    return std::vector<std::string>{"train", "--config", at(out + ".yaml"), "--set",
                                    "optim.epochs=20"};
  };
  result_of(run("whole"));
  auto parts = run("parts");
  ASSERT_EQ(interrupted(parts, "parts").exit_code, 130);
  parts.insert(parts.end(), {"--set", "recompute=block", "--resume"});
  result_of(parts);
  EXPECT_EQ(core::read_file(path("whole/adapter/adapter_model.safetensors")),
            core::read_file(path("parts/adapter/adapter_model.safetensors")));
}

// Without dropout the micro-batches change nothing but rounding, as sums come in another order;
// with it they decide the masks.
TEST_F(TrainResume, AResumedRunMayHaveOtherMicroBatchesUnlessItHasDropout) {
  for (const std::string dropout : {"0", "0.1"}) {
    const std::string name = "run" + dropout;
    write("t.yaml", train_config("method: lora\nlora: {rank: 4, dropout: " + dropout +
                                 "}\ncheckpoint: {every: 2}\nout: " + at(name)));
    std::vector<std::string> command = {"train", "--config", at("t.yaml"), "--set",
                                        "optim.epochs=20"};
    ASSERT_EQ(interrupted(command, name).exit_code, 130);
    command.insert(command.end(), {"--set", "optim.micro_batch_tokens=128", "--resume"});
    if (dropout == "0") {
      result_of(command);
      write("t.yaml",
            train_config("method: lora\nlora: {rank: 4, dropout: 0}\nout: " + at("whole")));
      result_of({"train", "--config", at("t.yaml"), "--set", "optim.epochs=20"});
      const auto expected = losses("whole");
      const auto found = losses(name);
      ASSERT_EQ(found.size(), 60U);
      ASSERT_EQ(expected.size(), 60U);
      for (std::size_t step = 0; step < found.size(); ++step) {
        EXPECT_NEAR(found[step].first, expected[step].first, 1e-4) << step;
        EXPECT_NEAR(found[step].second, expected[step].second, 1e-4) << step;
      }
    } else {
      const ProcessResult refused = run_corda(command);
      EXPECT_EQ(refused.exit_code, 2);
      EXPECT_THAT(refused.err, HasSubstr("'optim.micro_batch_tokens' was 512 and is 128 now"));
    }
  }
}

TEST_F(TrainResume, ARunGoesOnFromItsOwnResolvedSettings) {
  write("t.yaml",
        train_config("method: lora\nlora: {rank: 4}\ncheckpoint: {every: 2}\nout: " + at("run")));
  ASSERT_EQ(
      interrupted({"train", "--config", at("t.yaml"), "--set", "optim.epochs=20"}, "run").exit_code,
      130);
  EXPECT_THAT(core::read_file(path("run/config.resolved.yaml")), HasSubstr("gradients: fused"));
  // --dry-run says where it would go on, and changes nothing.
  std::vector<std::string> looked = {"train", "--config", at("run/config.resolved.yaml"),
                                     "--resume", "--dry-run"};
  const ProcessResult text = run_corda(looked);
  const Json resumes = result_of(looked).at("resumes");
  const std::string checkpoint = resumes.at("checkpoint");
  EXPECT_EQ(checkpoint, core::concat(at("run/checkpoints/step-"), resumes.at("after_step").dump()));
  EXPECT_TRUE(fs::exists(checkpoint));
  EXPECT_THAT(text.out, HasSubstr(core::concat("# it goes on after step ",
                                               resumes.at("after_step").dump(), " of ")));
  result_of({"train", "--config", at("run/config.resolved.yaml"), "--resume"});
}

TEST_F(TrainResume, ResumeRefusesChangedDataAndSettings) {
  write("t.yaml",
        train_config("method: lora\nlora: {rank: 4}\ncheckpoint: {every: 2}\nout: " + at("run")));
  const std::vector<std::string> command = {"train", "--config", at("t.yaml"), "--set",
                                            "optim.epochs=20"};
  ASSERT_EQ(interrupted(command, "run").exit_code, 130);
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

// Which evaluation data there are changes the evaluation losses and nothing else.
TEST_F(TrainResume, AResumedRunMayHaveOtherEvaluationData) {
  const auto train = [&](const std::string& out) -> std::vector<std::string> {
    write(out + ".yaml", train_config("method: lora\nlora: {rank: 4}\nout: " + at(out)));
    return {"train", "--config", at(out + ".yaml"), "--set", "optim.epochs=20"};
  };
  result_of(train("whole"));
  for (const std::string& eval : {"[{path: " + at("other.jsonl") + "}]", std::string("[]")}) {
    write("other.jsonl", R"({"instruction": "Say yes", "output": "yes"})");
    fs::remove_all(path("parts"));
    auto parts = train("parts");
    ASSERT_EQ(interrupted(parts, "parts").exit_code, 130);
    parts.insert(parts.end(), {"--set", "data.eval=" + eval, "--resume"});
    const Json result = result_of(parts);
    EXPECT_EQ(result.contains("eval_loss"), eval != "[]");
    EXPECT_EQ(core::read_file(path("whole/adapter/adapter_model.safetensors")),
              core::read_file(path("parts/adapter/adapter_model.safetensors")));
    EXPECT_NE(losses("whole").back().second, losses("parts").back().second);
  }
}

// What is learnt are other answers than those that are evaluated, so that a loss is soon higher
// than the one before, and the run ends there.
TEST_F(TrainResume, TheLastLineSaysWhichStepAndLossTheBestResultIsOf) {
  for (const std::string digit : {"1", "0"}) {
    std::string lines;
    for (int i = 0; i < 16; ++i) {
      lines += Json({{"instruction", "Add one to " + std::to_string(i)},
                     {"output", std::string(12, digit.front())}})
                   .dump() +
               "\n";
    }
    write(digit + ".jsonl", lines);
  }
  write("t.yaml", train_config("method: lora\nlora: {rank: 4}\nout: " + at("run")));
  const ProcessResult result =
      run_corda({"train", "--config", at("t.yaml"), "--set", "data.train=" + at("1.jsonl"), "--set",
                 "data.eval=" + at("0.jsonl"), "--set", "optim.epochs=30", "--set", "optim.lr=0.03",
                 "--set", "optim.schedule=constant", "--set", "optim.warmup_ratio=0", "--set",
                 "eval.every=1", "--set", "eval.patience=1"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto values = losses("run");
  ASSERT_GE(values.size(), 2U);
  const double best = values[values.size() - 2].second;
  ASSERT_LT(best, values.back().second) << "the loss was to go up";
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.4f", best);
  EXPECT_THAT(result.out,
              HasSubstr("; the result is that of step " + std::to_string(values.size() - 1) +
                        ", evaluation loss " + text.data() + ": " + at("run/adapter")));
  std::snprintf(text.data(), text.size(), "%.4f", values.back().second);
  EXPECT_THAT(result.out, ::testing::Not(HasSubstr(std::string("evaluation loss ") + text.data())));
}

// `precision: auto` is another on a CPU than on a GPU, so what it became counts. A checkpoint that
// does not say what it became goes on.
TEST_F(TrainResume, ResumeRefusesAnotherPrecision) {
  write("t.yaml",
        train_config("method: lora\nlora: {rank: 4}\ncheckpoint: {every: 2}\nout: " + at("run")));
  const std::vector<std::string> command = {"train", "--config", at("t.yaml"),     "--device",
                                            "cpu",   "--set",    "optim.epochs=20"};
  ASSERT_EQ(interrupted(command, "run").exit_code, 130);
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

}  // namespace
}  // namespace corda
