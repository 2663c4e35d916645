// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Several ranks do what one does: on the CPU, over Gloo, as launchers start them.
#include "support/ranks.h"

#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>

#include "cli/ranks_job.h"
#include "corda/core/file.h"
#include "core/json.h"

namespace corda::testing {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

namespace {

TEST_F(Ranks, LossesOfALoraAreThoseOfOneRank) {
  expect_same_training("method: lora\nlora: {rank: 4}\n", {2, 3, 4});
}

// Steps of 3 samples leave the fourth rank without any.
TEST_F(Ranks, ARankWithoutSamplesChangesNothing) {
  const std::string extra = "method: lora\nlora: {rank: 4}\n";
  const std::vector<std::string> few = {"--set", "optim.batch_size=3", "--set",
                                        "optim.max_steps=20"};
  auto one = training("one", extra);
  one.insert(one.end(), few.begin(), few.end());
  run_one(one);
  auto four = training("four", extra);
  four.insert(four.end(), few.begin(), few.end());
  expect_success(run_ranks(ranks_of(4, four)));
  expect_same_losses("four", "one");
}

TEST_F(Ranks, AccumulationWithoutPackingChangesNothing) {
  const std::vector<std::string> small = {"--set", "optim.micro_batch_tokens=64", "--set",
                                          "data.packing=false"};
  auto one = training("one", "method: lora\nlora: {rank: 4}\n");
  one.insert(one.end(), small.begin(), small.end());
  run_one(one);
  auto three = training("three", "method: lora\nlora: {rank: 4}\n");
  three.insert(three.end(), small.begin(), small.end());
  expect_success(run_ranks(ranks_of(3, three)));
  expect_same_losses("three", "one");
}

// The gauge is rank 0's; the decay that its covariance shares out is every rank's.
TEST_F(Ranks, LeversAgainstForgettingAreThoseOfOneRank) {
  run_one({"calibrate", "--model", base(), "--data", at("uneven.jsonl"), "--samples", "8",
           "--seq-len", "64", "--device", "cpu", "--out", at("cov")});
  write("general.txt", std::string(3000, 'g'));
  std::vector<std::string> levers;
  for (const std::string& setting :
       {"gauge.covariance=" + at("cov"), std::string("train_a=false"),
        std::string("optim.decay_total=0.5"), std::string("optim.decay_metric=knowledge"),
        std::string("optim.lora_plus_ratio=2"), std::string("loss.weighting=eaft"),
        std::string("lora.use_rslora=true"), "data.replay.path=" + at("general.txt"),
        std::string("data.replay.share=0.1")})
    levers.insert(levers.end(), {"--set", setting});
  auto one = training("one", "method: lora\nlora: {rank: 4}\n");
  one.insert(one.end(), levers.begin(), levers.end());
  run_one(one);
  auto three = training("three", "method: lora\nlora: {rank: 4}\n");
  three.insert(three.end(), levers.begin(), levers.end());
  expect_success(run_ranks(ranks_of(3, three)));
  expect_same_losses("three", "one");
  const auto gauge = [&](const std::string& run) {
    const std::string text = core::read_file(at(run + "/metrics.jsonl"));
    const std::size_t last = text.rfind("\"forgetting\":");
    return std::stod(text.substr(last + 13));
  };
  EXPECT_GT(gauge("one"), 1e-4);
  EXPECT_NEAR(gauge("three"), gauge("one"), 1e-4 * gauge("one"));
}

TEST_F(Ranks, LossesOfDoraAreThoseOfOneRank) {
  expect_same_training("method: dora\nlora: {rank: 4}\n", {3});
}

// Ranks with fewer micro-batches than others, or none, use the blocks as often as they.
TEST_F(Ranks, AShardedBaseChangesNothing) {
  const std::string shard = "shard: true\n";
  const std::string lora = "method: lora\nlora: {rank: 4}\n";
  expect_same_training(lora, {2, 3}, shard);
  expect_same_training(lora + "base: nf4\n", {2}, shard);
  expect_same_training("method: dora\nlora: {rank: 4}\n", {3}, shard);
  // A start that is taken off the weights, a block at a time.
  expect_same_training("method: pissa\nlora: {rank: 4}\n", {2}, shard);
  expect_same_training(lora + "gradients: autograd\n", {2}, shard);
}

TEST_F(Ranks, AShardedBaseWithUnequalBatchesChangesNothing) {
  const std::vector<std::string> small = {
      "--set", "optim.batch_size=3", "--set", "optim.max_steps=20", "--set", "data.packing=false"};
  auto one = training("one", "method: lora\nlora: {rank: 4}\n");
  one.insert(one.end(), small.begin(), small.end());
  run_one(one);
  auto four = training("four", "method: lora\nlora: {rank: 4}\nshard: true\n");
  four.insert(four.end(), small.begin(), small.end());
  expect_success(run_ranks(ranks_of(4, four)));
  expect_same_losses("four", "one");
}

TEST_F(Ranks, LossesOfFullFineTuningAreThoseOfOneRank) {
  expect_same_training("method: full\n", {2});
}

// The whole job in two ways: covariances and adapters of three ranks are those of one.
TEST_F(Ranks, CovariancesAndStartsAreThoseOfOneRank) {
  const auto calibrate = [&](const std::string& out, const std::string& data) {
    return std::vector<std::string>{"calibrate", "--model", base(),      "--data", at(data),
                                    "--samples", "8",       "--seq-len", "64",     "--batch-tokens",
                                    "100",       "--dtype", "fp32",      "--out",  at(out)};
  };
  const auto decompose = [&](const std::string& out, const std::string& suffix) {
    return std::vector<std::string>{"decompose",
                                    "--model",
                                    base(),
                                    "--covariance",
                                    at("know" + suffix),
                                    "--task-covariance",
                                    at("task" + suffix),
                                    "--mode",
                                    "dual",
                                    "--rank",
                                    "4",
                                    "--out",
                                    at(out)};
  };
  run_one(calibrate("know-1", "facts.jsonl"));
  run_one(calibrate("task-1", "task.jsonl"));
  expect_success(run_ranks(ranks_of(3, calibrate("know-3", "facts.jsonl"))));
  expect_success(run_ranks(ranks_of(3, calibrate("task-3", "task.jsonl"))));
  run_one(decompose("start-1", "-1"));
  expect_success(run_ranks(ranks_of(3, decompose("start-3", "-1"))));
  EXPECT_EQ(core::read_file(path("start-1/adapter_model.safetensors")),
            core::read_file(path("start-3/adapter_model.safetensors")));
  const Json one = core::read_json(path("know-1/manifest.json"));
  const Json three = core::read_json(path("know-3/manifest.json"));
  EXPECT_EQ(one.at("tokens"), three.at("tokens"));
  EXPECT_EQ(one.at("sites"), three.at("sites"));
  const std::string extra = "method: corda\nadapter: ";
  run_one(training("one", extra + at("start-1") + "\n"));
  expect_success(run_ranks(ranks_of(2, training("two", extra + at("start-3") + "\n"))));
  expect_same_losses("two", "one");
}

// Two gradients, so that the third rank has none.
TEST_F(Ranks, GramsOfGradientsAreThoseOfOneRank) {
  const auto calibrate = [&](const std::string& out, const std::string& data) {
    return std::vector<std::string>{
        "calibrate", "--model",   base(),      "--data", at(data),
        "--of",      "gradients", "--samples", "16",     "--gradient-batch",
        "8",         "--dtype",   "fp32",      "--out",  at(out)};
  };
  run_one(calibrate("one", "task.jsonl"));
  expect_success(run_ranks(ranks_of(3, calibrate("three", "task.jsonl"))));
  const auto grams = [&](const std::string& name) {
    const std::string file = core::read_file(path(name + "/model.layers.1.mlp.input.safetensors"));
    std::uint64_t header = 0;
    std::memcpy(&header, file.data(), sizeof(header));
    std::vector<float> values((file.size() - sizeof(header) - header) / sizeof(float));
    std::memcpy(values.data(), file.data() + sizeof(header) + header,
                values.size() * sizeof(float));
    return values;
  };
  const std::vector<float> one = grams("one");
  const std::vector<float> three = grams("three");
  ASSERT_EQ(one.size(), three.size());
  const float largest = *std::max_element(one.begin(), one.end());
  EXPECT_GT(largest, 0);
  for (std::size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(one[i], three[i], 1e-5F * largest);
  EXPECT_EQ(core::read_json(path("one/manifest.json")).at("sites"),
            core::read_json(path("three/manifest.json")).at("sites"));
  auto ranks = ranks_of(2, calibrate("no", "task.jsonl"), kImpatient);
  ranks[1].arguments[4] = at("uneven.jsonl");
  for (const auto& result : run_ranks(ranks)) EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_FALSE(fs::exists(path("no")));
}

TEST_F(Ranks, DecompositionFromDataIsThatOfOneRank) {
  const auto decompose = [&](const std::string& mode, const std::string& out) {
    return std::vector<std::string>{
        "decompose", "--model", base(),      "--data",      at("facts.jsonl"),
        "--samples", "8",       "--seq-len", "64",          "--batch-tokens",
        "100",       "--dtype", "fp32",      "--mode",      mode,
        "--rank",    "4",       "--out",     at(mode + out)};
  };
  // The inputs of eva are centred, by the mean of all ranks' tokens.
  for (const std::string mode : {"ipa", "eva"}) {
    run_one(decompose(mode, "one"));
    expect_success(run_ranks(ranks_of(3, decompose(mode, "three"))));
    const Json one = core::read_json(path(mode + "one/corda.json"));
    const Json three = core::read_json(path(mode + "three/corda.json"));
    ASSERT_FALSE(one.at("layers").empty());
    for (const auto& [module, layer] : one.at("layers").items()) {
      for (const char* key : {"energy", "total_energy"}) {
        const double energy = layer.at(key).get<double>();
        EXPECT_NEAR(three.at("layers").at(module).at(key).get<double>(), energy, 1e-5 * energy)
            << mode << " " << module;
      }
    }
  }
}

TEST_F(Ranks, ScoresAreThoseOfOneRank) {
  const auto evaluate = [&](const std::string& task, const std::string& data,
                            const std::string& predictions) {
    std::vector<std::string> arguments = {"eval",    "--model", base(),           "--task",
                                          task,      "--data",  at(data),         "--json",
                                          "--dtype", "fp32",    "--batch-tokens", "100"};
    if (!predictions.empty()) arguments.insert(arguments.end(), {"--predictions", at(predictions)});
    return arguments;
  };
  const auto compare = [&](const std::string& task, const std::string& data, bool predictions) {
    const ProcessResult one = run_corda(evaluate(task, data, predictions ? "one.jsonl" : ""));
    ASSERT_EQ(one.exit_code, 0) << one.err;
    const auto three =
        run_ranks(ranks_of(3, evaluate(task, data, predictions ? "three.jsonl" : "")));
    expect_success(three);
    EXPECT_EQ(three[1].out, "");
    const Json expected = core::parse_json(one.out, "one");
    const Json found = core::parse_json(three[0].out, "three");
    EXPECT_NEAR(found.at("nll").get<double>(), expected.at("nll").get<double>(), 1e-6) << task;
    EXPECT_NEAR(found.at("score").get<double>(), expected.at("score").get<double>(), 1e-4) << task;
    EXPECT_EQ(found.at("samples"), expected.at("samples"));
    if (predictions) {
      EXPECT_EQ(core::read_file(path("one.jsonl")), core::read_file(path("three.jsonl")));
    }
  };
  compare("perplexity", "uneven.jsonl", false);
  compare("qa", "facts.jsonl", true);
}

TEST_F(Ranks, ACheckpointOfTwoIsContinuedByThree) {
  const std::string extra = "method: lora\nlora: {rank: 4}\ncheckpoint: {every: 3}\n";
  run_one(training("one", extra));
  auto ranks = ranks_of(2, training("parts", extra), kImpatient);
  // Either rank may be the one that is asked, and by what schedulers send.
  ranks[1].watch = [&](pid_t process, const std::string& /*err*/) {
    if (!fs::exists(path("parts/metrics.jsonl")) || fs::file_size(path("parts/metrics.jsonl")) == 0)
      return true;
    ::kill(process, SIGTERM);
    return false;
  };
  const auto stopped = run_ranks(ranks);
  for (const auto& result : stopped) EXPECT_EQ(result.exit_code, 130) << result.err;
  EXPECT_FALSE(fs::exists(path("parts/adapter")));
  auto again = training("parts", extra);
  // A base that is split now or not is the same base.
  again.insert(again.end(), {"--resume", "--set", "shard=true"});
  expect_success(run_ranks(ranks_of(3, again)));
  expect_same_losses("parts", "one");
}

TEST_F(Ranks, AKilledRankEndsTheOthersWithItsName) {
  auto endless = training("run", "method: lora\nlora: {rank: 4}\n");
  endless.insert(endless.end(), {"--set", "optim.epochs=100000"});
  auto ranks = ranks_of(3, endless, kImpatient);
  std::chrono::steady_clock::time_point killed;
  ranks[2].watch = [&](pid_t process, const std::string& /*err*/) {
    if (!fs::exists(path("run/metrics.jsonl")) || fs::file_size(path("run/metrics.jsonl")) == 0)
      return true;
    ::kill(process, SIGKILL);
    killed = std::chrono::steady_clock::now();
    return false;
  };
  const auto results = run_ranks(ranks);
  EXPECT_LT(std::chrono::steady_clock::now() - killed, std::chrono::seconds(40));
  EXPECT_EQ(results[2].exit_code, 128 + SIGKILL);
  for (const int rank : {0, 1}) {
    EXPECT_EQ(results[static_cast<std::size_t>(rank)].exit_code, 5);
    EXPECT_THAT(results[static_cast<std::size_t>(rank)].err, HasSubstr("rank 2 of 3"));
  }
  EXPECT_THAT(results[0].err, HasSubstr("is saved"));
}

TEST_F(Ranks, TheDeathOfRankZeroEndsTheOthers) {
  auto endless = training("run", "method: lora\nlora: {rank: 4}\n");
  endless.insert(endless.end(), {"--set", "optim.epochs=100000"});
  auto ranks = ranks_of(2, endless, kImpatient);
  ranks[0].watch = [&](pid_t process, const std::string& /*err*/) {
    if (!fs::exists(path("run/metrics.jsonl")) || fs::file_size(path("run/metrics.jsonl")) == 0)
      return true;
    ::kill(process, SIGKILL);
    return false;
  };
  const auto results = run_ranks(ranks);
  EXPECT_EQ(results[1].exit_code, 5);
  EXPECT_THAT(results[1].err, HasSubstr("rank 0 of 2"));
}

TEST_F(Ranks, OtherSettingsOfARankAreRefusedByName) {
  auto ranks = ranks_of(2, training("run", "method: lora\nlora: {rank: 4}\n"), kImpatient);
  ranks[1].arguments.insert(ranks[1].arguments.end(), {"--set", "optim.lr=2e-3"});
  const auto results = run_ranks(ranks);
  for (const auto& result : results) EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_THAT(results[0].err + results[1].err,
              AllOf(HasSubstr("rank 1 has other settings"), HasSubstr("optim.lr")));
  EXPECT_FALSE(fs::exists(path("run/metrics.jsonl")));
}

// What a continuation may have otherwise, ranks may not: they call each other in evaluations.
TEST_F(Ranks, OtherEvaluationsOfARankAreRefusedByName) {
  for (const std::vector<std::string>& other : {std::vector<std::string>{"--set", "eval.every=1"},
                                                {"--set", "eval.patience=3"},
                                                {"--set", "data.eval=[]"}}) {
    auto ranks = ranks_of(2, training("run", "method: lora\nlora: {rank: 4}\n"), kImpatient);
    ranks[1].arguments.insert(ranks[1].arguments.end(), other.begin(), other.end());
    const auto results = run_ranks(ranks);
    for (const auto& result : results) EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_THAT(results[0].err + results[1].err, HasSubstr("rank 1 has other settings"));
  }
}

TEST_F(Ranks, ScoresOfOtherDataOfARankAreRefused) {
  const std::vector<std::string> arguments = {"eval", "--model", base(), "--data",
                                              at("uneven.jsonl")};
  auto ranks = ranks_of(2, arguments, kImpatient);
  ranks[1].arguments.back() = at("task.jsonl");
  for (const auto& result : run_ranks(ranks)) EXPECT_EQ(result.exit_code, 2) << result.err;
}

TEST_F(Ranks, OtherCommandsAreRefusedAtTheStart) {
  auto ranks = ranks_of(2, training("run", "method: lora\nlora: {rank: 4}\n"), kImpatient);
  ranks[1].arguments.emplace_back("--dry-run");
  const auto results = run_ranks(ranks);
  for (const auto& result : results) EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_THAT(results[0].err + results[1].err, HasSubstr("start all ranks alike"));
}

// A rank that fell silent holds its connections open.
TEST_F(Ranks, AStoppedRankEndsTheOthersAndTheLastStepIsSaved) {
  for (const std::size_t stopped : {std::size_t{0}, std::size_t{1}}) {
    const std::string run = "run-" + std::to_string(stopped);
    auto endless = training(run, "method: lora\nlora: {rank: 4}\n");
    endless.insert(endless.end(), {"--set", "optim.epochs=100000"});
    auto ranks = ranks_of(3, endless, kImpatient);
    std::atomic<int> ended = 0;
    for (std::size_t rank = 0; rank < 3; ++rank) {
      ranks[rank].ended = [&] { ++ended; };
    }
    bool sent = false;
    ranks[stopped].watch = [&, sent](pid_t process, const std::string& /*err*/) mutable {
      std::error_code ignored;
      const fs::path metrics = path(run + "/metrics.jsonl");
      if (!sent && fs::exists(metrics) && fs::file_size(metrics, ignored) > 0) {
        ::kill(process, SIGSTOP);
        sent = true;
      }
      if (ended == 2) ::kill(process, SIGKILL);  // the others have ended
      return ended < 2;
    };
    const auto results = run_ranks(ranks);
    for (std::size_t rank = 0; rank < 3; ++rank) {
      if (rank == stopped) continue;
      EXPECT_EQ(results[rank].exit_code, 5) << results[rank].err;
      EXPECT_THAT(results[rank].err, HasSubstr("rank " + std::to_string(stopped) + " of 3"));
    }
    if (stopped == 1) {
      EXPECT_THAT(results[0].err, HasSubstr("is saved"));
    }
  }
}

// Somebody listens at the port and says nothing.
TEST_F(Ranks, APortOfSomebodyElsesIsGivenUp) {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(name);
  ASSERT_EQ(::bind(descriptor, reinterpret_cast<sockaddr*>(&name), size), 0);
  ASSERT_EQ(::listen(descriptor, 4), 0);
  ASSERT_EQ(::getsockname(descriptor, reinterpret_cast<sockaddr*>(&name), &size), 0);
  std::vector<RankProcess> ranks;
  for (int rank = 0; rank < 2; ++rank) {
    ranks.push_back(rank_process(training("run", "method: lora\n"),
                                 torchrun_variables(rank, 2, ntohs(name.sin_port))));
    ranks.back().variables["CORDA_JOIN_SECONDS"] = "3";
  }
  const auto results = run_ranks(ranks);
  ::close(descriptor);
  EXPECT_EQ(results[0].exit_code, 5);
  EXPECT_EQ(results[1].exit_code, 5);
  EXPECT_THAT(results[1].err, HasSubstr("cannot reach rank 0 at 127.0.0.1:"));
}

// A script runs one command after the other under the same variables.
TEST_F(Ranks, TheNextCommandOfAJobMeetsAnewAfterAFailedOne) {
  fs::create_directory(path("bad"));
  write("bad/metrics.jsonl", "{}\n");
  const std::string lora = "method: lora\nlora: {rank: 4}\n";
  const auto line = [&](const std::string& out) {
    std::string text = CORDA_BINARY;
    for (const auto& argument : training(out, lora)) text += " '" + argument + "'";
    return text;
  };
  const std::string both = line("bad") + "; exec " + line("good");
  auto ranks = ranks_of(2, {}, kImpatient);
  for (auto& rank : ranks) rank.program = {"/bin/sh", "-c", both};
  expect_success(run_ranks(ranks));
  EXPECT_TRUE(fs::exists(path("good/adapter")));
}

TEST_F(Ranks, AnErrorOfRankZeroIsSaidOnce) {
  fs::create_directory(path("run"));
  write("run/metrics.jsonl", "{}\n");
  const auto results = run_ranks(ranks_of(2, training("run", "method: lora\n"), kImpatient));
  for (const auto& result : results) EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_THAT(results[0].err, HasSubstr("rank 0: '" + at("run") + "' holds an unfinished run"));
  EXPECT_THAT(results[1].err, HasSubstr("ended because rank 0 of 2 did"));
}

TEST_F(Ranks, ALateRankIsWaitedForAndAMissingOneNamed) {
  auto late = ranks_of(2, training("late", "method: lora\nlora: {rank: 4}\n"), kImpatient);
  late[1].delay = std::chrono::seconds(3);
  expect_success(run_ranks(late));
  auto missing = ranks_of(3, training("missing", "method: lora\n"),
                          {{"CORDA_JOIN_SECONDS", "3"}, {"CORDA_SILENCE_SECONDS", "5"}});
  missing.erase(missing.begin() + 1);
  const auto results = run_ranks(missing);
  for (const auto& result : results) EXPECT_EQ(result.exit_code, 5) << result.err;
  EXPECT_THAT(results[0].err, HasSubstr("of 3 ranks these did not come within 3 s: 1"));
}

// The checkpoint cannot be written, which does not end the run; the result cannot, which does.
TEST_F(Ranks, AFullDiskOfRankZeroEndsAllInItsWords) {
  auto ranks = ranks_of(2, training("run", "method: lora\nlora: {rank: 4}\n"), kImpatient);
  ranks[0].largest_file = 4096;
  const auto results = run_ranks(ranks);
  for (const auto& result : results) EXPECT_EQ(result.exit_code, 5) << result.err;
  EXPECT_THAT(results[0].err, HasSubstr("rank 0: "));
  EXPECT_THAT(results[1].err, HasSubstr("ended because rank 0 of 2 did"));
  EXPECT_FALSE(fs::exists(path("run/adapter")));
}

TEST_F(Ranks, TorchrunsVariablesDoTheSame) {
  const auto arguments = training("run", "method: lora\nlora: {rank: 4}\n");
  run_one(training("one", "method: lora\nlora: {rank: 4}\n"));
  const int port = free_port();
  std::vector<RankProcess> ranks;
  for (int rank = 0; rank < 2; ++rank)
    ranks.push_back(rank_process(arguments, torchrun_variables(rank, 2, port)));
  expect_success(run_ranks(ranks));
  expect_same_losses("run", "one");
}

TEST_F(Ranks, GpusStartsTheRanksItself) {
  run_one(training("one", "method: lora\nlora: {rank: 4}\n"));
  auto two = training("two", "method: lora\nlora: {rank: 4}\n");
  two.insert(two.end(), {"--gpus", "2", "--json"});
  const ProcessResult result = run_corda(two);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(core::parse_json(result.out, "out").at("steps"), 20);
  EXPECT_THAT(result.err, HasSubstr("2 ranks, 2 of them on this machine"));
  expect_same_losses("two", "one");
}

TEST_F(Ranks, AnInterruptOfTheStarterSavesAndEndsAll) {
  auto endless = training("run", "method: lora\nlora: {rank: 4}\n");
  endless.insert(endless.end(), {"--gpus=2", "--set", "optim.epochs=100000"});
  const ProcessResult result = run_corda(endless, interrupt_when_written(at("run/metrics.jsonl")));
  EXPECT_EQ(result.exit_code, 130) << result.err;
  EXPECT_THAT(result.err, HasSubstr("saved, continue with --resume"));
  EXPECT_TRUE(fs::exists(path("run/checkpoints")));
}

// A plan counts GPUs and needs no other rank to come.
TEST_F(Ranks, APlanIsNoJobOfRanks) {
  RankProcess process;
  process.arguments = training("run", "method: lora\nlora: {rank: 4}\n");
  process.arguments.erase(process.arguments.begin());
  process.arguments.insert(process.arguments.begin(), {"plan", "--gpu", "H100", "--gpus", "2"});
  process.arguments.resize(process.arguments.size() - 2);  // no --device
  process.variables = torchrun_variables(0, 2, free_port());
  const auto results = run_ranks({process});
  EXPECT_EQ(results[0].exit_code, 0) << results[0].err;
  EXPECT_THAT(results[0].out, HasSubstr("in all: fits"));
}

TEST_F(Ranks, VerbsOfOneProcessAreDoneByRankZero) {
  const std::vector<std::string> arguments = {"tokenize", "--model", base(), "--data",
                                              at("facts.jsonl")};
  const auto results = run_ranks(ranks_of(2, arguments));
  EXPECT_EQ(results[1].exit_code, 0);
  EXPECT_EQ(results[1].out, "");
  EXPECT_THAT(results[1].err, HasSubstr("rank 1 of 2: nothing to do"));
}

}  // namespace

}  // namespace corda::testing
