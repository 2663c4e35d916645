// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Several processes at one cache of tokenised data at the same time, and what killed ones leave.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "chat_helpers.h"
#include "corda/core/file.h"
#include "corda/core/sha256.h"
#include "corda/data/load.h"
#include "data_helpers.h"

namespace corda::data {
namespace {

using core::Json;

std::string conversations(int count) {
  std::string lines;
  for (int i = 0; i < count; ++i) {
    lines +=
        Json{{"messages",
              Json::array({{{"role", "user"}, {"content", "q" + std::to_string(i)}},
                           {{"role", "assistant"},
                            {"content", std::string(static_cast<std::size_t>(i % 90), 'a')}}})}}
            .dump() +
        "\n";
  }
  return lines;
}

class CacheProcesses : public testing::Test {
 protected:
  Dataset load() {
    CapturedLog log;
    return load_samples({{.path = data_}}, *tokenizer_,
                        {.template_name = "chatml",
                         .model_directory = chat_golden() / "bytes",
                         .threads = 1,
                         .cache = cache_},
                        log);
  }
  // A process that loads once `start` is closed, and writes what it got to `result`.
  pid_t spawn(const std::array<int, 2>& start, const fs::path& result) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    ::close(start[1]);
    char byte = 0;
    [[maybe_unused]] const auto got = ::read(start[0], &byte, 1);  // ends when all have closed it
    try {
      const Dataset dataset = load();
      core::Sha256 hash;
      for (const Sample& sample : dataset.samples)
        hash.update(std::as_bytes(std::span(sample.ids)));
      core::write_file_atomic(result, dataset.samples.fingerprint() + " " + hash.hex_digest());
      ::_exit(0);
    } catch (const std::exception& error) {
      core::write_file_atomic(result, error.what());
      ::_exit(1);
    }
  }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(cache_))
      found.push_back(entry.path().filename());
    return found;
  }

  TemporaryFolder folder_;
  fs::path cache_ = folder_.path() / "cache";
  fs::path data_ = folder_.write("f.jsonl", conversations(20000));
  std::shared_ptr<const tokenizer::Tokenizer> tokenizer_ = chat_tokenizer("bytes");
};

TEST_F(CacheProcesses, AtOnceGiveTheSameSamplesAndOneFile) {
  constexpr int kProcesses = 8;
  std::array<int, 2> start = {};
  ASSERT_EQ(::pipe(start.data()), 0);
  std::vector<pid_t> children;
  for (int i = 0; i < kProcesses; ++i)
    children.push_back(spawn(start, folder_.path() / ("result" + std::to_string(i))));
  ::close(start[1]);
  ::close(start[0]);
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  const std::string first = core::read_file(folder_.path() / "result0");
  EXPECT_EQ(first.size(), 129U) << first;
  for (int i = 1; i < kProcesses; ++i)
    EXPECT_EQ(core::read_file(folder_.path() / ("result" + std::to_string(i))), first);
  EXPECT_EQ(load().samples.fingerprint(), first.substr(0, 64));
  ASSERT_EQ(names().size(), 1U);
  EXPECT_THAT(names()[0], testing::EndsWith(".samples"));
}

TEST_F(CacheProcesses, WhatAKilledWriterLeftIsRemovedAndALivingOneIsNot) {
  fs::create_directory(cache_);
  const fs::path file = cache_ / "key.samples";
  const Sample sample{.ids = {1, 2, 3}, .supervised = {0, 1, 1}};
  const pid_t child = ::fork();
  if (child == 0) {
    SampleWriter writer(file);
    for (int i = 0; i < 10000; ++i) writer.add(sample);
    ::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  ASSERT_EQ(names().size(), 1U);
  const std::string left = names()[0];
  SampleWriter first(file);
  first.add(sample);
  EXPECT_EQ(names().size(), 1U);
  EXPECT_NE(names()[0], left);
  SampleWriter second(file);
  second.add(sample);
  EXPECT_EQ(names().size(), 2U);
  const SampleStore one = first.finish("");
  const SampleStore two = second.finish("");
  EXPECT_EQ(one.fingerprint(), two.fingerprint());
  EXPECT_EQ(one.at(0).ids, two.at(0).ids);  // the replaced file is still mapped
  EXPECT_EQ(names(), std::vector<std::string>{"key.samples"});
}

// The file-size limit stands in for a full disk; it is set in a process of its own.
TEST_F(CacheProcesses, AFullDiskIsAResourceErrorAndLeavesNothing) {
  const fs::path result = folder_.path() / "result";
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit = {};
    ::getrlimit(RLIMIT_FSIZE, &limit);
    const rlimit small = {.rlim_cur = rlim_t{1} << 20, .rlim_max = limit.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
    core::write_file_atomic(result, message_of<core::ResourceError>([&] { load(); }));
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_THAT(core::read_file(result), testing::HasSubstr("free some space"));
  EXPECT_EQ(names(), std::vector<std::string>{});
}

TEST_F(CacheProcesses, AFileThatCannotBeMadeIsAResourceErrorAndLeavesNothing) {
  const auto message = [&] { return message_of<core::ResourceError>([&] { load(); }); };
  cache_ = data_ / "cache";  // below a file
  EXPECT_THAT(message(), testing::HasSubstr("cache': Not a directory; write somewhere else"));
  EXPECT_THAT(message_of<core::ResourceError>([&] { SampleWriter(cache_ / "key.samples"); }),
              testing::HasSubstr("key.samples': Not a directory; write somewhere else"));
  cache_ = folder_.path() / "cache";
  const fs::path taken = cache_ / "key.samples";
  fs::create_directories(taken / "full");
  SampleWriter writer(taken);
  writer.add({.ids = {1}, .supervised = {1}});
  EXPECT_THAT(message_of<core::ResourceError>([&] {
                SampleWriter ended(taken);
                ended.finish("");
              }),
              testing::HasSubstr("cannot create '" + taken.string()));
  EXPECT_EQ(names().size(), 2U);  // the directory, and what `writer` still writes
}

}  // namespace
}  // namespace corda::data
