// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What a task's gradient asks of the inputs, from the flag to what reads it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/job.h"
#include "corda/core/file.h"

namespace corda {
namespace {

using core::Json;
using ::testing::HasSubstr;
using testing::ProcessResult;
using testing::run_corda;

class OfGradients : public testing::Job {
 protected:
  std::vector<std::string> calibrating(const std::string& out,
                                       const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = {
        "calibrate", "--model", base(),      "--data", at("task.jsonl"), "--of", "gradients",
        "--samples", "16",      "--threads", "1",      "--out",          at(out)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  std::vector<std::string> decomposing(const std::string& out,
                                       const std::vector<std::string>& more) const {
    std::vector<std::string> words = {"decompose", "--model", base(),  "--rank", "4",
                                      "--threads", "1",       "--out", at(out)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  std::string sites(const std::string& name) const {
    return core::read_file(path(name + "/model.layers.1.mlp.input.safetensors"));
  }
};

TEST_F(OfGradients, AreATaskOfDualsAndOfNothingElse) {
  calibrate("facts.jsonl", "facts");
  calibrate("task.jsonl", "inputs");
  const Json made = result_of(calibrating("asked", {"--gradient-batch", "8"}));
  EXPECT_EQ(made.at("samples"), 16);
  const Json manifest = core::read_json(path("asked/manifest.json"));
  EXPECT_EQ(manifest.at("of_gradients"), true);
  EXPECT_EQ(manifest.at("version"), 2);
  EXPECT_EQ(manifest.at("activation_scaling"), "none");
  EXPECT_EQ(manifest.at("settings").at("gradient_batch"), 8);
  EXPECT_EQ(result_of({"inspect", at("asked")}).at("of"), "gradients");
  EXPECT_EQ(result_of({"inspect", at("facts")}).at("of"), "inputs");
  const std::vector<std::string> dual = {"--mode", "dual", "--covariance", at("facts")};
  const auto with = [&](std::vector<std::string> words, const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  result_of(decomposing("of-gradients", with(dual, {"--task-covariance", at("asked")})));
  result_of(decomposing("of-inputs", with(dual, {"--task-covariance", at("inputs")})));
  EXPECT_NE(core::read_file(path("of-gradients/adapter_model.safetensors")),
            core::read_file(path("of-inputs/adapter_model.safetensors")));
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"--mode", "kpa", "--covariance", at("asked")},
        {"--mode", "eva", "--covariance", at("asked")},
        {"--mode", "dual", "--covariance", at("asked"), "--task-covariance", at("inputs")},
        {"--mode", "sc", "--covariance", at("facts"), "--task-covariance", at("asked")}}) {
    const ProcessResult refused = run_corda(decomposing("no", words));
    EXPECT_EQ(refused.exit_code, 2);
    EXPECT_THAT(refused.err, HasSubstr("'" + at("asked") + "' is of gradients, and mode " +
                                       words[1] + " needs the covariance of inputs"));
  }
  const ProcessResult gauge = run_corda({"inspect", at("of-inputs"), "--covariance", at("asked")});
  EXPECT_EQ(gauge.exit_code, 2);
  EXPECT_THAT(gauge.err, HasSubstr("is of gradients"));
}

TEST_F(OfGradients, AreOfTheAnswersAndTheSameAgain) {
  result_of(calibrating("one"));
  result_of(calibrating("again"));
  EXPECT_EQ(sites("one"), sites("again"));
  std::string longer;
  for (int i = 0; i < 24; ++i) {
    longer += Json({{"instruction", "Add one to " + std::to_string(i)},
                    {"output", std::to_string(i + 1) + "!"}})
                  .dump() +
              "\n";
  }
  write("task.jsonl", longer);
  result_of(calibrating("longer"));
  EXPECT_NE(sites("one"), sites("longer"));
}

TEST_F(OfGradients, SettingsThatNothingLooksAtAreRefused) {
  EXPECT_THAT(run_corda(calibrating("no", {"--center"})).err,
              HasSubstr("'center' is for --of inputs"));
  result_of(calibrating("scaled", {"--activation-scaling", "none"}));  // which is what is done
  EXPECT_THAT(run_corda(calibrating("no", {"--activation-scaling", "reference"})).err,
              HasSubstr("'activation_scaling' is for --of inputs"));
  EXPECT_THAT(run_corda({"calibrate", "--model", base(), "--data", at("task.jsonl"),
                         "--gradient-batch", "8", "--out", at("no")})
                  .err,
              HasSubstr("'gradient_batch' is for --of gradients"));
}

}  // namespace
}  // namespace corda
