// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/metrics.h"

#include <gtest/gtest.h>

#include <cmath>

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

}  // namespace
}  // namespace corda::train
