// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Ranks that decompose a model together: what comes of it, and what one that ends leaves behind.
#include <gmock/gmock.h>

#include <chrono>
#include <csignal>

#include "cli/ranks_job.h"
#include "corda/core/file.h"

namespace corda::testing {

using ::testing::HasSubstr;

namespace {

// Some seconds of work: 42 layers of 384 columns, of which none needs a covariance.
class DecomposeRanks : public Ranks {
 protected:
  void SetUp() override {
    Ranks::SetUp();
    write_tiny_model(
        at("wide"),
        {.vocab = 96, .hidden = 384, .intermediate = 512, .layers = 6, .heads = 4, .kv_heads = 2});
  }

  std::vector<std::string> decompose(const std::string& out) const {
    return {"decompose", "--model", at("wide"),  "--method", "pissa", "--rank", "8",
            "--device",  "cpu",     "--threads", "1",        "--out", at(out)};
  }

  // Sends the signal once a site of `out` is on the disk.
  Watch when_a_site_is_kept(const std::string& out, int signal) const {
    return [this, out, signal](pid_t process, const std::string& /*err*/) {
      std::error_code none_yet;
      for (const auto& entry : fs::directory_iterator(path(out + ".work"), none_yet)) {
        if (entry.path().extension() != ".json") continue;
        ::kill(process, signal);
        return false;
      }
      return true;
    };
  }

  void expect_as_of_one_rank(const std::string& out) const {
    if (!fs::exists(path("one"))) run_one(decompose("one"));
    EXPECT_EQ(core::read_file(path(out + "/adapter_model.safetensors")),
              core::read_file(path("one/adapter_model.safetensors")));
    EXPECT_EQ(core::read_json(path(out + "/corda.json")).at("layers"),
              core::read_json(path("one/corda.json")).at("layers"));
  }
};

TEST_F(DecomposeRanks, TwoAndThreeMakeTheAdapterOfOne) {
  for (const int size : {2, 3}) {
    const std::string out = std::to_string(size);
    expect_success(run_ranks(ranks_of(size, decompose(out))));
    expect_as_of_one_rank(out);
  }
}

TEST_F(DecomposeRanks, AKilledRankIsNamedAndWhatWasKeptIsTakenUp) {
  for (const std::size_t victim : {std::size_t{0}, std::size_t{2}}) {
    const std::string out = "without-" + std::to_string(victim);
    auto ranks = ranks_of(3, decompose(out), kImpatient);
    ranks[victim].watch = when_a_site_is_kept(out, SIGKILL);
    const auto begin = std::chrono::steady_clock::now();
    const auto results = run_ranks(ranks);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
    for (std::size_t rank = 0; rank < 3; ++rank) {
      if (rank == victim) {
        EXPECT_EQ(results[rank].exit_code, 128 + SIGKILL);
        continue;
      }
      EXPECT_EQ(results[rank].exit_code, 5) << results[rank].err;
      EXPECT_THAT(results[rank].err, HasSubstr("rank " + std::to_string(victim) + " of 3"));
    }
    EXPECT_FALSE(fs::exists(path(out)));
    const auto again = run_ranks(ranks_of(2, decompose(out)));
    expect_success(again);
    EXPECT_THAT(again[0].err, HasSubstr("that an earlier process finished"));
    expect_as_of_one_rank(out);
  }
}

TEST_F(DecomposeRanks, ARankThatIsAskedToStopEndsAllAndTheWorkGoesOn) {
  for (const std::size_t asked : {std::size_t{0}, std::size_t{1}}) {
    const std::string out = "asked-" + std::to_string(asked);
    auto ranks = ranks_of(2, decompose(out), kImpatient);
    ranks[asked].watch = when_a_site_is_kept(out, SIGTERM);
    for (const auto& result : run_ranks(ranks)) EXPECT_EQ(result.exit_code, 130) << result.err;
    EXPECT_FALSE(fs::exists(path(out)));
    expect_success(run_ranks(ranks_of(2, decompose(out))));
    expect_as_of_one_rank(out);
  }
}

}  // namespace
}  // namespace corda::testing
