// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// calibrate and decompose killed midway and started again, against runs that were not disturbed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string_view>

#include "corda/core/file.h"
#include "core/json.h"
#include "support/process.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda {
namespace {

namespace fs = std::filesystem;
using core::Json;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::ProcessResult;
using testing::run_corda;

class Resume : public ::testing::Test {
 protected:
  void SetUp() override {
    corda::testing::write_tiny_model(
        at("base"),
        {.vocab = 257, .hidden = 48, .intermediate = 96, .layers = 6, .heads = 4, .kv_heads = 2});
    for (const char* name : {"text.txt", "task.txt"}) {
      std::ofstream file(at(name));
      for (int i = 0; i < 4000; ++i) file << name << " line " << i * i << " of many\n";
    }
  }

  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }

  std::vector<std::string> command(const std::string& verb,
                                   std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(),
                     {verb, "--model", at("base"), "--threads", "1", "--device", "cpu", "--json"});
    return arguments;
  }
  std::vector<std::string> drawn(const std::string& verb,
                                 std::vector<std::string> arguments) const {
    for (const char* argument : {"--samples", "64", "--seq-len", "128", "--batch-tokens", "1024"})
      arguments.emplace_back(argument);
    return command(verb, std::move(arguments));
  }

  static Json succeed(const std::vector<std::string>& arguments, std::string* err = nullptr) {
    const ProcessResult result = run_corda(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    if (err != nullptr) *err = result.err;
    return result.exit_code == 0 ? core::parse_json(result.out, arguments[0]) : Json();
  }

  static std::map<std::string, std::string> contents(const fs::path& folder) {
    std::map<std::string, std::string> result;
    for (const auto& entry : fs::directory_iterator(folder))
      result[entry.path().filename()] = core::read_file(entry.path());
    return result;
  }

  // The numbers of all fp32 tensors of a folder's safetensors files, by file.
  static std::map<std::string, std::vector<float>> numbers(const fs::path& folder) {
    std::map<std::string, std::vector<float>> result;
    for (const auto& [name, content] : contents(folder)) {
      if (!name.ends_with(".safetensors")) continue;
      std::uint64_t header = 0;
      std::memcpy(&header, content.data(), sizeof header);
      const std::string_view data = std::string_view(content).substr(sizeof header + header);
      auto& values = result[name];
      values.resize(data.size() / sizeof(float));
      std::memcpy(values.data(), data.data(), data.size());
    }
    return result;
  }

  // calibrate keeps a file for each site, decompose a note for each site and one file for the
  // tensors of all.
  static int finished_parts(const fs::path& work) {
    int count = 0;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(work, ignored)) {
      const auto extension = entry.path().extension();
      count += (extension == ".safetensors" && entry.path().stem() != "adapter_model") ||
                       extension == ".json"
                   ? 1
                   : 0;
    }
    return count;
  }

  // Kills the command once `count` parts are finished.
  void kill_midway(const std::vector<std::string>& arguments, const std::string& out,
                   int count) const {
    const fs::path work = at(out + ".work");
    const ProcessResult killed = testing::run_disturbed(
        arguments,
        [&](pid_t process, const std::string&) {
          if (finished_parts(work) < count) return true;
          ::kill(process, SIGKILL);
          return false;
        },
        [&] { fs::remove_all(at(out)); });
    ASSERT_EQ(killed.exit_code, 128 + SIGKILL) << killed.err;
    ASSERT_FALSE(fs::exists(at(out)));
    ASSERT_TRUE(fs::exists(work));
  }

  // The command undisturbed and the command killed and continued write the same bytes to `out`.
  void expect_same_after_kill(const std::vector<std::string>& arguments, const std::string& out,
                              int count, const char* skipped) const {
    EXPECT_EQ(succeed(arguments).at(skipped), 0);
    fs::rename(at(out), at(out + "-undisturbed"));
    kill_midway(arguments, out, count);
    std::string err;
    const Json result = succeed(arguments, &err);
    EXPECT_GE(result.at(skipped).get<int>(), count);
    EXPECT_THAT(err, HasSubstr("going on after " + std::to_string(result.at(skipped).get<int>())));
    EXPECT_FALSE(fs::exists(at(out + ".work")));
    const auto expected = contents(at(out + "-undisturbed"));
    const auto found = contents(at(out));
    ASSERT_EQ(found.size(), expected.size());
    for (const auto& [name, content] : expected)
      EXPECT_TRUE(found.contains(name) && found.at(name) == content) << name;
  }

  testing::TemporaryDirectory folder_;
};

TEST_F(Resume, CalibrateGoesOnToTheSameBytes) {
  expect_same_after_kill(drawn("calibrate", {"--data", at("text.txt"), "--out", at("cov")}), "cov",
                         5, "sites_skipped");
}

TEST_F(Resume, DecomposeFromDirectoriesGoesOnToTheSameBytes) {
  succeed(drawn("calibrate", {"--data", at("text.txt"), "--out", at("cov")}));
  expect_same_after_kill(
      command("decompose", {"--covariance", at("cov"), "--rank", "4", "--out", at("start")}),
      "start", 3, "layers_skipped");
}

TEST_F(Resume, DecomposeFromDataGoesOnToTheSameBytes) {
  expect_same_after_kill(drawn("decompose", {"--data", at("text.txt"), "--mode", "ipa", "--rank",
                                             "4", "--out", at("start")}),
                         "start", 5, "layers_skipped");
}

TEST_F(Resume, DualFromDataGoesOnToTheSameBytes) {
  expect_same_after_kill(
      drawn("decompose", {"--data", at("text.txt"), "--task-data", at("task.txt"), "--mode", "dual",
                          "--rank", "4", "--out", at("start")}),
      "start", 5, "layers_skipped");
}

// The file-size limit stands in for a full disk.
TEST_F(Resume, AFullDiskIsReportedThoughMetInTheBackground) {
  const auto arguments = drawn("decompose", {"--data", at("text.txt"), "--mode", "ipa", "--rank",
                                             "4", "--out", at("start")});
  succeed(arguments);
  fs::rename(at("start"), at("undisturbed"));
  const auto tensors = fs::file_size(at("undisturbed/adapter_model.safetensors"));
  std::string line = "ulimit -f " + std::to_string(tensors / 512 / 2) + "; exec " + CORDA_BINARY;
  for (const auto& argument : arguments) line += " '" + argument + "'";
  const ProcessResult full = testing::run_process({"/bin/sh", "-c", line});
  EXPECT_EQ(full.exit_code, 5) << full.err;
  EXPECT_THAT(full.err, HasSubstr("free some space"));
  EXPECT_FALSE(fs::exists(at("start")));
  EXPECT_FALSE(fs::exists(at("start.work"))) << "nothing was finished";
  succeed(arguments);
  EXPECT_EQ(contents(at("start")), contents(at("undisturbed")));
}

TEST_F(Resume, AnOutputThatIsALinkToAnotherDiskIsWrittenThere) {
  struct stat here {};
  struct stat memory {};
  if (::stat(folder_.path().c_str(), &here) != 0 || ::stat("/dev/shm", &memory) != 0 ||
      here.st_dev == memory.st_dev)
    GTEST_SKIP() << "/dev/shm is no other disk than " << folder_.path();
  const testing::TemporaryDirectory other("/dev/shm");
  for (const char* name : {"cov", "start"}) {
    fs::create_directory(other.path() / name);
    fs::create_directory_symlink(other.path() / name, at(name));
  }
  succeed(drawn("calibrate", {"--data", at("text.txt"), "--out", at("cov")}));
  succeed(command("decompose", {"--covariance", at("cov"), "--rank", "4", "--out", at("start")}));
  EXPECT_TRUE(fs::exists(other.path() / "cov" / "manifest.json"));
  EXPECT_TRUE(fs::exists(other.path() / "start" / "adapter_model.safetensors"));
}

// What the results do not depend on, but for sums in another order: where files lie, how many
// threads there are, where activations are kept.
TEST_F(Resume, MovedFilesAndOtherThreadsGoOn) {
  for (const std::string verb : {"calibrate", "decompose"}) {
    std::vector<std::string> rest = {"--samples",      "64",   "--seq-len", "128",
                                     "--batch-tokens", "1024", "--out",     at("start")};
    if (verb == "decompose") rest.insert(rest.end(), {"--rank", "4"});
    std::vector<std::string> first = {verb,     "--json",       "--model",   at("base"),
                                      "--data", at("text.txt"), "--threads", "1"};
    std::vector<std::string> second = {
        verb, "--json",   "--model", at("moved"), "--data",     at("other.txt"),   "--threads",
        "2",  "--device", "cpu",     "--date",    "2026-01-31", "--hidden-states", "device"};
    first.insert(first.end(), rest.begin(), rest.end());
    second.insert(second.end(), rest.begin(), rest.end());
    succeed(first);
    const auto expected = numbers(at("start"));
    fs::remove_all(at("start"));
    kill_midway(first, "start", 2);
    fs::rename(at("base"), at("moved"));
    fs::rename(at("text.txt"), at("other.txt"));
    std::string err;
    succeed(second, &err);
    EXPECT_THAT(err, HasSubstr("going on after")) << verb;
    const auto found = numbers(at("start"));
    ASSERT_EQ(found.size(),
              verb == "calibrate" ? 4U * 6 : 1U);  // a file for each site; the adapter
    for (const auto& [name, values] : expected) {
      ASSERT_TRUE(found.contains(name) && found.at(name).size() == values.size()) << name;
      double difference = 0;
      double size = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        difference += std::pow(double{found.at(name)[i]} - values[i], 2);
        size += std::pow(double{values[i]}, 2);
      }
      EXPECT_LE(std::sqrt(difference), 1e-5 * std::sqrt(size)) << verb << ": " << name;
      EXPECT_GT(size, 0) << name;
    }
    fs::rename(at("moved"), at("base"));
    fs::rename(at("other.txt"), at("text.txt"));
    fs::remove_all(at("start"));
  }
}

TEST_F(Resume, PartsOfOtherSettingsAreRefusedAndKept) {
  const auto with_rank = [&](const char* rank) {
    return drawn("decompose", {"--data", at("text.txt"), "--rank", rank, "--out", at("start")});
  };
  kill_midway(with_rank("4"), "start", 2);
  const ProcessResult refused = run_corda(with_rank("5"));
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("start.work' holds unfinished work, but 'rank' was 4 and is 5 "
                                     "now; delete that folder to start anew, or repeat"));
  EXPECT_FALSE(fs::exists(at("start")));
  EXPECT_GE(succeed(with_rank("4")).at("layers_skipped"), 2);
}

// Covariances with the mean of the inputs and without it are not mixed.
TEST_F(Resume, ACentredCalibrationGoesOnAsItBegan) {
  const std::vector<std::string> plain = drawn(
      "calibrate", {"--data", at("text.txt"), "--activation-scaling", "none", "--out", at("cov")});
  std::vector<std::string> centred = plain;
  centred.emplace_back("--center");
  expect_same_after_kill(centred, "cov", 5, "sites_skipped");
  fs::remove_all(at("cov"));
  kill_midway(centred, "cov", 2);
  const ProcessResult refused = run_corda(plain);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err,
              HasSubstr("cov.work' holds unfinished work, but 'center' was true and is not "
                        "there now; delete that folder to start anew, or repeat"));
}

// config.json changes what the blocks compute, though every weight and token stays as it is.
TEST_F(Resume, PartsOfAModelWithAnotherConfigAreRefused) {
  for (const std::string verb : {"calibrate", "decompose"}) {
    std::vector<std::string> arguments = {"--data", at("text.txt"), "--out", at("start")};
    if (verb == "decompose") arguments.insert(arguments.end(), {"--rank", "4"});
    arguments = drawn(verb, arguments);
    kill_midway(arguments, "start", 2);
    Json config = core::read_json(at("base/config.json"));
    config["rope_theta"] = verb == "calibrate" ? 5e5 : 1e6;
    core::write_json(at("base/config.json"), config);
    const ProcessResult refused = run_corda(arguments);
    EXPECT_EQ(refused.exit_code, 2) << verb;
    EXPECT_THAT(refused.err, HasSubstr("but 'config.json' is another one now; delete")) << verb;
    fs::remove_all(at("start.work"));
    std::string err;
    succeed(arguments, &err);
    EXPECT_THAT(err, Not(HasSubstr("going on after"))) << verb;
    fs::remove_all(at("start"));
  }
}

TEST_F(Resume, AFolderOfTheUsersInPlaceOfTheWorkIsRefusedBeforeTheDataAreRead) {
  for (const std::string verb : {"calibrate", "decompose"}) {
    const fs::path own = at(verb + ".work");
    fs::create_directory(own);
    std::ofstream(own / "notes.txt") << "precious";
    const ProcessResult refused =
        run_corda(drawn(verb, {"--data", at("no such file"), "--out", at(verb)}));
    EXPECT_EQ(refused.exit_code, 2) << verb;
    EXPECT_THAT(refused.err, HasSubstr("holds files that corda did not make")) << verb;
    EXPECT_EQ(core::read_file(own / "notes.txt"), "precious") << verb;
  }
}

// What stops the very last step, as a kill or a full disk may, costs none of the parts.
TEST_F(Resume, AnOutputThatCannotBeCompletedLosesNoPart) {
  for (const std::string verb : {"calibrate", "decompose"}) {
    std::vector<std::string> arguments = {"--data", at("text.txt"), "--out", at("start")};
    if (verb == "decompose") arguments.insert(arguments.end(), {"--rank", "4"});
    arguments = drawn(verb, arguments);
    const ProcessResult failed = testing::run_disturbed(
        arguments,
        [&](pid_t, const std::string&) {
          if (finished_parts(at("start.work")) < 2) return true;
          fs::create_directory(at("start"));
          std::ofstream(at("start/of-someone-else")) << 1;
          return false;
        },
        [&] { fs::remove_all(at("start")); });
    EXPECT_EQ(failed.exit_code, 5) << failed.err;
    EXPECT_THAT(failed.err, HasSubstr("cannot replace '" + at("start") + "'"));
    fs::remove_all(at("start"));
    const Json result = succeed(arguments);
    EXPECT_EQ(result.at(verb == "calibrate" ? "sites_skipped" : "layers_skipped"),
              verb == "calibrate" ? 4 * 6 : 7 * 6);
    fs::remove_all(at("start"));
  }
}

// The parts lie beside the folder that the link names, from where they can be renamed into it: the
// link may be on another disk.
TEST_F(Resume, PartsLieBesideTheTargetOfALink) {
  fs::create_directory(at("disk"));
  fs::create_directory_symlink(at("disk/target"), at("start"));
  const auto arguments =
      drawn("decompose", {"--data", at("text.txt"), "--rank", "4", "--out", at("start")});
  const ProcessResult killed = testing::run_disturbed(
      arguments,
      [&](pid_t process, const std::string&) {
        if (finished_parts(at("disk/target.work")) < 2) return true;
        ::kill(process, SIGKILL);
        return false;
      },
      [&] {
        fs::remove_all(at("disk/target"));
        fs::create_directory(at("disk/target"));
      });
  ASSERT_EQ(killed.exit_code, 128 + SIGKILL) << killed.err;
  EXPECT_FALSE(fs::exists(at("start.work")));
  EXPECT_GE(succeed(arguments).at("layers_skipped"), 2);
  EXPECT_TRUE(fs::exists(at("disk/target/adapter_model.safetensors")));
}

// One pass equals calibrating first: the covariances are the same numbers, stored in fp32 between.
TEST_F(Resume, DecomposeFromDataEqualsCalibrateThenDecompose) {
  succeed(drawn("calibrate", {"--data", at("text.txt"), "--out", at("cov")}));
  succeed(drawn("calibrate", {"--data", at("task.txt"), "--out", at("task-cov")}));
  EXPECT_EQ(core::read_json(at("cov/manifest.json")).at("sites").begin().value().at("storage"),
            "packed");
  for (const std::string mode : {"kpa", "ipa", "dual"}) {
    std::vector<std::string> two = {"--covariance", at("cov"), "--mode", mode,
                                    "--rank",       "4",       "--out",  at(mode + "-2")};
    std::vector<std::string> one = {"--data", at("text.txt"), "--mode",       mode, "--rank",
                                    "4",      "--out",        at(mode + "-1")};
    if (mode == "dual") {
      two.insert(two.end(), {"--task-covariance", at("task-cov")});
      one.insert(one.end(), {"--task-data", at("task.txt")});
    }
    succeed(command("decompose", two));
    succeed(drawn("decompose", one));
    EXPECT_EQ(core::read_file(at(mode + "-1/adapter_model.safetensors")),
              core::read_file(at(mode + "-2/adapter_model.safetensors")))
        << mode;
  }
}

}  // namespace
}  // namespace corda
