// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/covariance/draw.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "support/error_of.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::covariance {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::int64_t threads_of_this_process() {
  return std::distance(fs::directory_iterator("/proc/self/task"), fs::directory_iterator());
}

// The most threads that `work` has beside its own at once, as another thread sees it.
template <typename Work>
std::int64_t most_others(const Work& work) {
  std::atomic<bool> ended{false};
  std::int64_t most = 0;
  std::jthread watcher([&] {
    const std::int64_t before = threads_of_this_process();
    while (!ended) {
      most = std::max(most, threads_of_this_process() - before);
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  });
  work();
  ended = true;
  watcher.join();
  return most;
}

TEST(Draw, MoreTokensComeFromMoreSamplesOnlyWhereTheDataHasThem) {
  DrawSettings settings;
  settings.samples = 8;
  settings.seq_len = 16;
  Draw draw;
  draw.samples = 8;
  draw.tokens = 8 * 16;
  EXPECT_EQ(advice_for_more_tokens(draw, settings), "raise --samples or --seq-len");
  draw.tokens = 100;  // samples that are shorter already
  EXPECT_EQ(advice_for_more_tokens(draw, settings), "raise --samples");
  draw.samples = 5;
  EXPECT_EQ(advice_for_more_tokens(draw, settings), "give more data; all of it is taken");
}

TEST(Draw, ScalingThatNobodyNamedFollowsFromTheCentring) {
  const auto settled = [](const char* scaling, bool centred) {
    DrawSettings settings;
    settings.activation_scaling = scaling;
    settle_scaling(settings, centred);
    return settings.activation_scaling;
  };
  EXPECT_EQ(DrawSettings().activation_scaling, "auto");
  EXPECT_EQ(settled("auto", false), "reference");
  EXPECT_EQ(settled("auto", true), "none");
  for (const bool centred : {false, true}) {
    EXPECT_EQ(settled("reference", centred), "reference");
    EXPECT_EQ(settled("none", centred), "none");
  }
}

TEST(Draw, TokenisesWithTheThreadsAskedFor) {
  const corda::testing::TemporaryDirectory folder;
  const std::string model = (folder.path() / "model").string();
  corda::testing::write_tiny_model(model, {.vocab = 257});
  const fs::path text = folder.path() / "text.txt";
  {
    std::ofstream file(text);
    for (int line = 0; line < 200000; ++line) file << "line " << line << " of a long text\n";
  }
  ASSERT_GT(fs::file_size(text), 5U << 20);  // five parts of one MiB, a thread each
  core::Reporter silent;
  for (const std::int64_t threads : {1, 4}) {
    DrawSettings settings;
    settings.samples = 2;
    settings.seq_len = 16;
    settings.threads = threads;
    EXPECT_EQ(most_others([&] {
                draw_samples(settings, {text.string()}, model, model::read_model_config(model),
                             silent);
              }),
              threads - 1);
  }
}

TEST(Draw, ATokenThatTheModelHasNoRowForIsRefusedWithItsRecord) {
  const corda::testing::TemporaryDirectory folder;
  const std::string model = (folder.path() / "model").string();
  corda::testing::write_tiny_model(model, {.vocab = 123});  // up to 'y'
  const auto refusal = [&](const char* name, const std::string& content) {
    const std::string path = (folder.path() / name).string();
    std::ofstream(path) << content;
    DrawSettings settings;
    settings.samples = 4;
    settings.seq_len = 4;
    settings.template_name = "plain";
    core::Reporter silent;
    return corda::testing::error_of<core::ConfigError>(
        [&] { draw_samples(settings, {path}, model, model::read_model_config(model), silent); });
  };
  const std::string said = ": token id 123 ('z') is beyond the model's vocabulary of 123 tokens";
  EXPECT_THAT(refusal("r.jsonl",
                      "{\"prompt\": \"a\", \"completion\": \"b\"}\n"
                      "{\"prompt\": \"a\", \"completion\": \"z\"}\n"),
              HasSubstr("r.jsonl:2:1" + said));
  EXPECT_THAT(refusal("d.jsonl", "{\"text\": \"yyy\"}\n{\"text\": \"zzz\"}\n"),
              HasSubstr("d.jsonl:2:1" + said));
  EXPECT_THAT(refusal("t.txt", "zzzz"), HasSubstr("t.txt" + said));
}

}  // namespace
}  // namespace corda::covariance
