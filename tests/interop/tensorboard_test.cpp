// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What TensorBoard itself reads of a run. Skipped where CORDA_PYTHON, of the build or of the
// environment, has no tensorboard package.
#include <gtest/gtest.h>

#include <cstdlib>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/train/train.h"
#include "core/json.h"
#include "support/error_of.h"
#include "support/process.h"
#include "train/small_run.h"

namespace corda::train {
namespace {

namespace fs = std::filesystem;
using corda::testing::run_process;
using core::Json;

std::string python() {
  const char* given = std::getenv("CORDA_PYTHON");
  return given != nullptr ? given : CORDA_PYTHON;
}

// Asks the training to stop after so many steps.
class Steps final : public core::Reporter {
 public:
  void begin(std::string_view task, std::int64_t /*total*/, std::string_view /*unit*/,
             std::int64_t /*done*/) override {
    training_ = task == "train";
  }
  void advance(std::int64_t count, std::string_view /*note*/) override {
    if (training_) made_ += count;
  }
  bool stop_requested() const override { return made_ >= 5; }

 private:
  std::int64_t made_ = 0;
  bool training_ = false;
};

class TensorBoard : public corda::testing::SmallRun {};

// Of eight steps five are made, the last of which is lost with its checkpoint; the continuation
// takes it again, in a file that says so.
TEST_F(TensorBoard, ReadsEveryStepOfAResumedRunOnceAsMetricsHasIt) {
  if (python().empty()) GTEST_SKIP() << "CORDA_PYTHON is not set";
  if (run_process({python(), "-c", "import tensorboard"}).exit_code != 0)
    GTEST_SKIP() << python() << " has no tensorboard package";
  TrainSettings settings = small_settings("run");
  settings.log = {"jsonl", "tensorboard"};
  settings.data.eval = settings.data.train;
  settings.eval.every = 4;
  settings.checkpoint.every = 1;
  Steps five;
  corda::testing::error_of<core::Interrupted>([&] { train(settings, false, five); });
  const fs::path run = settings.out;
  fs::remove_all(run / "checkpoints/step-5");
  train(settings, true, reporter_);

  const auto read = run_process(
      {python(), std::string(CORDA_SOURCE_DIR) + "/tests/interop/read_events.py", run.string()});
  ASSERT_EQ(read.exit_code, 0) << read.err;
  const Json events = core::parse_json(read.out, "read_events.py");
  Json expected = {{"train/loss", Json::array()},
                   {"train/learning_rate", Json::array()},
                   {"train/grad_norm", Json::array()},
                   {"eval/loss", Json::array()}};
  std::int64_t steps = 0;
  for (const auto& line : core::split(core::read_file(run / "metrics.jsonl"), '\n')) {
    if (line.empty()) continue;
    const Json step = core::parse_json(line, "metrics.jsonl");
    EXPECT_EQ(step["step"], ++steps);
    // TensorBoard keeps fp32.
    const auto add = [&](const char* tag, const char* key) {
      if (step.contains(key))
        expected[tag].push_back(
            {step["step"], static_cast<double>(static_cast<float>(step[key].get<double>()))});
    };
    add("train/loss", "loss");
    add("train/learning_rate", "lr");
    add("train/grad_norm", "grad_norm");
    add("eval/loss", "eval_loss");
  }
  EXPECT_EQ(steps, 8);
  EXPECT_EQ(expected["eval/loss"].size(), 2U);
  for (const auto& [tag, values] : expected.items()) EXPECT_EQ(events[tag], values) << tag;
  EXPECT_EQ(events["speed/tokens_per_second"].size(), 8U);
  EXPECT_EQ(events["memory/peak_gigabytes"].size(), 8U);
}

}  // namespace
}  // namespace corda::train
