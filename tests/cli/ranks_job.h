// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A training that is done by one rank and by several.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "cli/job.h"
#include "support/ranks.h"

namespace corda::testing {

// Limits that a test can wait for.
inline const Variables kImpatient = {{"CORDA_JOIN_SECONDS", "60"}, {"CORDA_SILENCE_SECONDS", "10"}};

inline RankProcess rank_process(std::vector<std::string> arguments, Variables variables) {
  RankProcess process;
  process.arguments = std::move(arguments);
  process.variables = std::move(variables);
  return process;
}

class Ranks : public Job {
 protected:
  // 37 samples in steps of 8: the last step of an epoch has 5, which no number of ranks divides.
  void SetUp() override {
    Job::SetUp();
    std::string task;
    for (int i = 0; i < 37; ++i) {
      task += Json({{"instruction", "Add " + std::string(static_cast<std::size_t>(i % 7), '1') +
                                        " to " + std::to_string(i)},
                    {"output", std::to_string(i + 1)}})
                  .dump() +
              "\n";
    }
    write("uneven.jsonl", task);
  }

  std::vector<std::string> training(const std::string& out, const std::string& extra) const {
    write(out + ".yaml",
          "model: " + base() + "\ndata: {train: [" + at("uneven.jsonl") +
              "], eval: [{path: " + at("uneven.jsonl") +
              ", count: 9}], max_length: 200}\noptim: {lr: 1.0e-3, batch_size: 8, epochs: 4, "
              "micro_batch_tokens: 512}\neval: {every: 7}\nthreads: 1\nprecision: fp32\nout: " +
              at(out) + "\n" + extra);
    return {"train", "--config", at(out + ".yaml"), "--device", "cpu"};
  }

  static void expect_success(const std::vector<ProcessResult>& results) {
    for (std::size_t rank = 0; rank < results.size(); ++rank)
      EXPECT_EQ(results[rank].exit_code, 0) << "rank " << rank << ": " << results[rank].err;
  }

  void run_one(const std::vector<std::string>& arguments) const {
    const ProcessResult result = run_corda(arguments);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }

  // Losses and evaluation losses of every step agree to 1e-6.
  void expect_same_losses(const std::string& run, const std::string& as) const {
    const auto found = losses(run);
    const auto expected = losses(as);
    ASSERT_EQ(found.size(), expected.size()) << run;
    ASSERT_FALSE(found.empty());
    for (std::size_t i = 0; i < found.size(); ++i) {
      EXPECT_NEAR(found[i].first, expected[i].first, 1e-6 * expected[i].first) << run << " " << i;
      EXPECT_NEAR(found[i].second, expected[i].second, 1e-6 * (1 + expected[i].second)) << run;
    }
  }

  // `of_several`: what several ranks are told beside that.
  void expect_same_training(const std::string& extra, const std::vector<int>& sizes,
                            const std::string& of_several = "") const {
    fs::remove_all(path("one"));
    run_one(training("one", extra));
    EXPECT_EQ(losses("one").size(), 20U);
    for (const int size : sizes) {
      const std::string run = "run-" + std::to_string(size);
      fs::remove_all(path(run));
      const auto results = run_ranks(ranks_of(size, training(run, extra + of_several)));
      expect_success(results);
      expect_same_losses(run, "one");
      for (int rank = 1; rank < size; ++rank) {
        EXPECT_EQ(results[static_cast<std::size_t>(rank)].out, "");
        EXPECT_EQ(results[static_cast<std::size_t>(rank)].err, "");
      }
    }
  }
};

}  // namespace corda::testing
