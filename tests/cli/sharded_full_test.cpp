// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Method full with `shard: true`: ranks that each hold a part do what one rank does.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstring>
#include <map>

#include "cli/ranks_job.h"
#include "corda/core/file.h"
#include "support/tiny_model.h"

namespace corda::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ShardedFull : public Ranks {
 protected:
  using Settings = std::vector<std::string>;

  // Every step clipped and decayed; 20 steps, of which every fifth has 5 samples in place of 8.
  std::vector<std::string> full(const std::string& out, const Settings& settings) const {
    auto arguments = training(out, "method: full\n");
    Settings all = {"optim.grad_clip=0.5", "optim.weight_decay=0.1"};
    all.insert(all.end(), settings.begin(), settings.end());
    for (const std::string& setting : all) arguments.insert(arguments.end(), {"--set", setting});
    return arguments;
  }
  std::vector<std::string> split(const std::string& out, Settings settings) const {
    settings.emplace_back("shard=true");
    return full(out, settings);
  }

  // The fp32 values of a model in one file, and the header before them.
  std::pair<std::string, std::vector<float>> weights_of(const std::string& run) const {
    const std::string file = core::read_file(path(run + "/model/model.safetensors"));
    std::uint64_t header = 0;
    std::memcpy(&header, file.data(), sizeof header);
    const std::size_t begin = sizeof header + header;
    std::vector<float> values((file.size() - begin) / sizeof(float));
    std::memcpy(values.data(), file.data() + begin, values.size() * sizeof(float));
    return {file.substr(0, begin), values};
  }
  void expect_same_model(const std::string& run, const std::string& as) const {
    const auto [header, found] = weights_of(run);
    const auto [expected_header, expected] = weights_of(as);
    EXPECT_EQ(header, expected_header);
    ASSERT_EQ(found.size(), expected.size());
    ASSERT_GT(found.size(), 10'000U);
    double largest = 0;
    for (std::size_t i = 0; i < found.size(); ++i)
      largest = std::max<double>(largest, std::abs(found[i] - expected[i]));
    EXPECT_LT(largest, 1e-5) << run;
  }

  std::vector<Json> metrics_of(const std::string& run) const {
    std::vector<Json> result;
    std::ifstream file(path(run + "/metrics.jsonl"));
    for (std::string line; std::getline(file, line);) result.push_back(core::parse_json(line, run));
    return result;
  }

  void expect_same_run(const std::string& run, const std::string& as) const {
    expect_same_losses(run, as);
    expect_same_model(run, as);
  }

  // One rank, then several with everything split; returns what rank 0 of the last said.
  void expect_same(const Settings& settings, const std::vector<int>& sizes) const {
    fs::remove_all(path("one"));
    run_one(full("one", settings));
    const auto metrics = metrics_of("one");
    ASSERT_EQ(metrics.size(), 20U);
    // Clipping is at work in every step.
    for (const Json& step : metrics) EXPECT_GT(step.at("grad_norm").get<double>(), 0.5);
    for (const int size : sizes) {
      const std::string run = "run-" + std::to_string(size);
      fs::remove_all(path(run));
      expect_success(run_ranks(ranks_of(size, split(run, settings))));
      expect_same_run(run, "one");
      const auto found = metrics_of(run);
      for (std::size_t i = 0; i < found.size(); ++i) {
        const double norm = metrics[i].at("grad_norm").get<double>();
        EXPECT_NEAR(found[i].at("grad_norm").get<double>(), norm, 1e-5 * norm) << run << " " << i;
      }
    }
  }

  std::string tied() const {
    write_tiny_model(at("tied"), {.vocab = 257, .hidden = 32, .layers = 3, .tied = true});
    return "model=" + at("tied");
  }
};

TEST_F(ShardedFull, LossesAndModelAreThoseOfOneRank) { expect_same({}, {2, 3, 4}); }

// A head that is the embedding is whole twice in a pass, and has gradients from both ends. Each
// sample is a micro-batch.
TEST_F(ShardedFull, ATiedHeadAndAccumulationChangeNothing) {
  expect_same({tied(), "optim.micro_batch_tokens=64", "data.packing=false"}, {2, 3});
  expect_same({tied(), "gradients=kernels"}, {2});
}

// Steps of 3 samples leave the fourth rank without any.
TEST_F(ShardedFull, ARankWithoutSamplesChangesNothing) {
  expect_same({"optim.batch_size=3", "optim.max_steps=20", "data.packing=false"}, {4});
}

TEST_F(ShardedFull, OneRankHoldsEverythingAndSaysSo) {
  run_one(full("one", {}));
  const ProcessResult alone = run_corda(split("alone", {}));
  ASSERT_EQ(alone.exit_code, 0) << alone.err;
  EXPECT_THAT(alone.err, HasSubstr("shard: there is one rank, which holds everything"));
  EXPECT_EQ(weights_of("alone"), weights_of("one"));
}

// Either rank may be asked to stop; what two have split goes on in three parts, and then in one.
TEST_F(ShardedFull, ACheckpointIsContinuedByAnotherNumberOfRanksAndByOne) {
  const Settings often = {"checkpoint.every=3"};
  run_one(full("one", often));
  auto ranks = ranks_of(2, split("parts", often), kImpatient);
  ranks[1].watch = interrupt_when_written(at("parts/metrics.jsonl"));
  for (const auto& result : run_ranks(ranks)) EXPECT_EQ(result.exit_code, 130) << result.err;
  EXPECT_FALSE(fs::exists(path("parts/model")));
  fs::copy(path("parts"), path("whole"), fs::copy_options::recursive);
  auto again = split("parts", often);
  again.emplace_back("--resume");
  expect_success(run_ranks(ranks_of(3, again)));
  expect_same_run("parts", "one");
  auto whole = full("whole", often);
  whole.emplace_back("--resume");
  run_one(whole);
  expect_same_run("whole", "one");
}

// One file holds the same tensors whoever wrote it, and several take up what one left.
TEST_F(ShardedFull, ACheckpointOfOneIsContinuedInParts) {
  const Settings often = {"checkpoint.every=3"};
  run_one(full("one", often));
  EXPECT_EQ(interrupted(full("parts", often), "parts").exit_code, 130);
  auto again = split("parts", often);
  again.emplace_back("--resume");
  expect_success(run_ranks(ranks_of(2, again)));
  expect_same_run("parts", "one");
  const auto names = [&](const std::string& run) {
    const std::string file = core::read_file(path(run + "/checkpoints/step-18/state.safetensors"));
    std::uint64_t size = 0;
    std::memcpy(&size, file.data(), sizeof size);
    std::map<std::string, Json> shapes;
    const Json header = core::parse_json(file.substr(sizeof size, size), "header");
    for (const auto& [name, tensor] : header.items())
      shapes[name] = {{"dtype", tensor.value("dtype", "")},
                      {"shape", tensor.value("shape", Json::array())}};
    return shapes;
  };
  EXPECT_EQ(names("parts"), names("one"));
}

// Kept while the run goes on, whenever the loss was lower than before.
TEST_F(ShardedFull, TheBestResultIsThatOfOneRank) {
  const Settings best = {"checkpoint.best=true", "eval.every=3"};
  run_one(full("one", best));
  auto two = split("two", best);
  two.emplace_back("--json");
  const auto results = run_ranks(ranks_of(2, two));
  expect_success(results);
  expect_same_run("two", "one");
  const Json result = core::parse_json(results[0].out, "two");
  EXPECT_NEAR(result.at("best_eval_loss").get<double>(), losses("two").back().second, 1e-9);
  EXPECT_FALSE(fs::exists(path("two/best")));
}

// What the trainer counts of its tensors is what was planned from shapes, to the byte.
TEST_F(ShardedFull, MemoryOfARankFollowsThePlan) {
  std::int64_t whole = 0;
  for (const int size : {1, 2, 3, 4}) {
    const std::string run = "run-" + std::to_string(size);
    auto arguments = split(run, {"optim.max_steps=2"});
    std::vector<std::string> planning = {"plan", "--json", "--gpu",
                                         "H100", "--gpus", std::to_string(size)};
    planning.insert(planning.end(), arguments.begin() + 1, arguments.end());
    std::erase(planning, "--device");
    std::erase(planning, "cpu");
    const ProcessResult planned = run_corda(planning);
    ASSERT_EQ(planned.exit_code, 0) << planned.err;
    const Json bytes = core::parse_json(planned.out, "plan").at("bytes");
    arguments.emplace_back("--json");
    const auto trained = run_ranks(ranks_of(size, arguments));
    expect_success(trained);
    const auto counted = core::parse_json(trained[0].out, "train").at("state_bytes");
    if (size == 1) {
      whole = counted.get<std::int64_t>();
      continue;
    }
    const std::string part = ", a part of " + std::to_string(size) + ", fp32";
    const auto of = [&](const std::string& what) { return bytes.at(what).get<std::int64_t>(); };
    const std::int64_t weights = of("weights" + part);
    EXPECT_EQ(of("gradients" + part), weights);
    EXPECT_EQ(of("optimizer's two moments" + part), 2 * weights);
    EXPECT_EQ(counted, 4 * weights + of("whole blocks or head in use, with gradients, fp32"));
    // Weights, gradients and moments are 16 bytes a parameter; tensors begin at 256 bytes.
    EXPECT_GE(4 * weights * size, whole);
    EXPECT_LT(4 * weights * size, whole + 16 * 64 * (32 + size * 4));
  }
}

TEST_F(ShardedFull, ADryRunSaysWhatARankWillHold) {
  auto arguments = split("run", {});
  arguments.emplace_back("--dry-run");
  const auto results = run_ranks(ranks_of(2, arguments));
  expect_success(results);
  EXPECT_THAT(results[0].out,
              HasSubstr("for weights, gradients and optimizer, split over 2 ranks, beside"));
}

// Without its part nothing can be saved.
TEST_F(ShardedFull, AKilledRankEndsTheOthersWhichNameTheLastCheckpoint) {
  auto ranks = ranks_of(3, split("run", {"optim.epochs=100000", "checkpoint.every=1"}), kImpatient);
  ranks[2].watch = [&](pid_t process, const std::string& /*err*/) {
    if (!fs::exists(path("run/checkpoints/step-1/state.json")) &&
        !fs::exists(path("run/checkpoints/step-2/state.json")))
      return true;
    ::kill(process, SIGKILL);
    return false;
  };
  const auto results = run_ranks(ranks);
  for (const std::size_t rank : {0U, 1U}) {
    EXPECT_EQ(results[rank].exit_code, 5) << results[rank].err;
    EXPECT_THAT(results[rank].err, HasSubstr("rank 2 of 3"));
  }
  auto again = split("run", {"optim.epochs=100000", "checkpoint.every=1"});
  again.emplace_back("--resume");
  auto two = ranks_of(2, again, kImpatient);
  const auto lines = [&] {
    const std::string text = core::read_file(path("run/metrics.jsonl"));
    return std::ranges::count(text, '\n');
  };
  const auto before = lines();
  two[0].watch = [&](pid_t process, const std::string& /*err*/) {
    if (lines() <= before) return true;
    ::kill(process, SIGTERM);
    return false;
  };
  for (const auto& result : run_ranks(two)) EXPECT_EQ(result.exit_code, 130) << result.err;
}

// The checkpoint cannot be written, which does not end the run; the result cannot, which does.
TEST_F(ShardedFull, AFullDiskOfRankZeroEndsAllInItsWords) {
  auto ranks = ranks_of(2, split("run", {"checkpoint.every=2"}), kImpatient);
  ranks[0].largest_file = 4096;
  const auto results = run_ranks(ranks);
  for (const auto& result : results) EXPECT_EQ(result.exit_code, 5) << result.err;
  EXPECT_THAT(results[0].err, HasSubstr("rank 0: "));
  EXPECT_THAT(results[1].err, HasSubstr("ended because rank 0 of 2 did"));
  EXPECT_FALSE(fs::exists(path("run/model")));
}

TEST_F(ShardedFull, WhatNeedsTheWeightsInOnePlaceIsRefused) {
  const auto refusal = [&](const std::string& setting) {
    const ProcessResult result = run_corda(split("run", {setting}));
    EXPECT_EQ(result.exit_code, 2) << result.err;
    return result.err;
  };
  EXPECT_THAT(refusal("recompute=none"), HasSubstr("computes every block again in the backward"));
  EXPECT_THAT(refusal("gauge.covariance=" + at("cov")),
              HasSubstr("'gauge.covariance' of method full needs the weights"));
}

}  // namespace
}  // namespace corda::testing
