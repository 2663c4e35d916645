// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/metrics.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>

#include "corda/core/file.h"
#include "support/temporary_directory.h"

namespace corda::train {
namespace {

StepMetrics example() {
  return {.step = 3,
          .loss = 1.25,
          .lr = 2e-5,
          .grad_norm = 0.5,
          .tokens = 8000,
          .supervised_tokens = 2000,
          .tokens_per_second = 19099.4,
          .utilisation = 0.618,
          .peak_memory_bytes = 45'900'000'000,
          .eval_loss = {}};
}

TEST(Metrics, ProgressNoteShowsRateShareMemoryAndUtilisation) {
  StepMetrics metrics = example();
  EXPECT_EQ(progress_note(metrics),
            "loss 1.2500  lr 2e-05  norm 0.5  19099 tok/s  25 % supervised  45.9 GB  62 % of peak");
  metrics.utilisation = 0;  // not known
  EXPECT_EQ(progress_note(metrics),
            "loss 1.2500  lr 2e-05  norm 0.5  19099 tok/s  25 % supervised  45.9 GB");
}

TEST(Metrics, JsonHoldsThemToo) {
  const core::Json json = to_json(example());
  EXPECT_EQ(json.at("tokens_per_second"), 19099.4);
  EXPECT_EQ(json.at("supervised_share"), 0.25);
  EXPECT_EQ(json.at("peak_memory_bytes"), 45'900'000'000);
  EXPECT_EQ(json.at("utilisation"), 0.618);
  EXPECT_FALSE(json.contains("forgetting"));  // not read
  StepMetrics read = example();
  read.forgetting = 0.125;
  read.forgetting_by_kind = {{"q_proj", 0.25}, {"up_proj", 0.0625}};
  EXPECT_EQ(to_json(read).at("forgetting"), 0.125);
  EXPECT_EQ(to_json(read).at("forgetting_by_kind").dump(), R"({"q_proj":0.25,"up_proj":0.0625})");
}

TEST(Metrics, TheGaugeOfEveryLayerStandsUntilItsStepIsTakenAgain) {
  const testing::TemporaryDirectory folder;
  const auto path = folder.path() / "forgetting.json";
  const adapter::Gauges gauges{.layers = {{"model.layers.0.mlp.up_proj", 0.5}, {"x", INFINITY}},
                               .kinds = {},
                               .in_all = 0.25};
  write_gauges(path, 4, gauges);
  const core::Json json = core::parse_json(core::read_file(path), "forgetting.json");
  EXPECT_EQ(json.at("step"), 4);
  EXPECT_EQ(json.at("in_all"), 0.25);
  EXPECT_EQ(json.at("layers").dump(),
            R"([{"module":"model.layers.0.mlp.up_proj","forgetting":0.5},)"
            R"({"module":"x","forgetting":null}])");
  remove_gauges_behind(path, 4);
  EXPECT_TRUE(std::filesystem::exists(path));
  remove_gauges_behind(path, 3);
  EXPECT_FALSE(std::filesystem::exists(path));
  remove_gauges_behind(path, 3);
  for (const char* torn : {"{\"step\": ", "{\"step\": -1}", "{\"step\": 18446744073709551615}"}) {
    core::write_file_atomic(path, torn);
    remove_gauges_behind(path, 9);
    EXPECT_FALSE(std::filesystem::exists(path)) << torn;
  }
  write_gauges(path, 4, gauges);
  remove_gauges_behind(path, 0);  // a run that begins anew
  EXPECT_FALSE(std::filesystem::exists(path));
  std::filesystem::create_directory(path);
  remove_gauges_behind(path, 0);
  EXPECT_TRUE(std::filesystem::exists(path)) << "what we never wrote is left alone";
}

// A reader of metrics.jsonl that meets the word NaN stops.
TEST(Metrics, ALineIsJsonWhateverTheNumbers) {
  StepMetrics metrics = example();
  metrics.grad_norm = INFINITY;
  metrics.tokens_per_second = std::nan("");
  const testing::TemporaryDirectory folder;
  MetricsFile(folder.path() / "metrics.jsonl", 0).append(metrics);
  const std::string line = core::read_file(folder.path() / "metrics.jsonl");
  const core::Json json = core::parse_json(line, "metrics.jsonl");
  EXPECT_TRUE(json.at("grad_norm").is_null());
  EXPECT_TRUE(json.at("tokens_per_second").is_null());
  EXPECT_EQ(json.at("loss"), 1.25);
}

// A limit on the size of files stands for a full disk.
TEST(Metrics, LinesThatTheDiskHasNoRoomForAreWrittenWhenThereIs) {
  const testing::TemporaryDirectory folder;
  const auto path = folder.path() / "metrics.jsonl";
  const std::string line = to_json(example()).dump() + "\n";
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  MetricsFile file(path, 0);
  EXPECT_TRUE(file.append(example()));
  const rlimit small{.rlim_cur = line.size() + line.size() / 2, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const bool second = file.append(example());
  const std::string why = file.why();
  const bool third = file.append(example());
  const std::string then = core::read_file(path);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_FALSE(second);
  EXPECT_FALSE(third);
  EXPECT_EQ(why, "cannot write '" + path.string() + "': File too large");
  EXPECT_EQ(then, line) << "no part of a line is left";
  EXPECT_TRUE(file.append(example()));
  EXPECT_EQ(core::read_file(path), line + line + line + line);
}

TEST(Metrics, OfAContinuedRunTheFinishedStepsStay) {
  const testing::TemporaryDirectory folder;
  const auto path = folder.path() / "metrics.jsonl";
  core::write_file_atomic(path, "{1}\n{2}\n{3}\n{4");
  {
    MetricsFile file(path, 2);
    EXPECT_EQ(core::read_file(path), "{1}\n{2}\n");
    file.append(example());
  }
  EXPECT_EQ(core::read_file(path), "{1}\n{2}\n" + to_json(example()).dump() + "\n");
}

}  // namespace
}  // namespace corda::train
