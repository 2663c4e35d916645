// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Inputs without their mean, from the flag to what reads the covariances.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/job.h"
#include "corda/core/file.h"

namespace corda {
namespace {

using core::Json;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::ProcessResult;
using testing::run_corda;

class Center : public testing::Job {
 protected:
  std::vector<std::string> calibrating(const std::string& out,
                                       const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = {
        "calibrate", "--model",   base(),      "--data", at("task.jsonl"),
        "--samples", "8",         "--seq-len", "64",     "--batch-tokens",
        "100",       "--threads", "1",         "--out",  at(out)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  std::vector<std::string> decomposing(const std::string& out,
                                       const std::vector<std::string>& more) const {
    std::vector<std::string> words = {"decompose", "--model",   base(), "--mode", "eva",  "--rank",
                                      "4",         "--threads", "1",    "--out",  at(out)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  std::vector<std::string> from_data() const {
    return {"--data", at("task.jsonl"), "--samples", "8", "--seq-len",
            "64",     "--batch-tokens", "100"};
  }
  Json manifest(const std::string& name) const {
    return core::read_json(path(name + "/manifest.json"));
  }
  std::string factors(const std::string& name) const {
    return core::read_file(path(name + "/adapter_model.safetensors"));
  }
};

TEST_F(Center, OfCalibrateIsInTheManifestAndNotScaledUnlessAsked) {
  result_of(calibrating("whole"));
  EXPECT_FALSE(manifest("whole").contains("centered"));
  EXPECT_EQ(manifest("whole").at("activation_scaling"), "reference");
  EXPECT_EQ(manifest("whole").at("settings").at("activation_scaling"), "reference");
  result_of(calibrating("centred", {"--center"}));
  EXPECT_EQ(manifest("centred").at("centered"), true);
  EXPECT_EQ(manifest("centred").at("activation_scaling"), "none");
  result_of(calibrating("scaled", {"--center", "--activation-scaling", "reference"}));
  EXPECT_EQ(manifest("scaled").at("centered"), true);
  EXPECT_EQ(manifest("scaled").at("activation_scaling"), "reference");
  EXPECT_EQ(result_of({"inspect", at("whole")}).at("centered"), false);
  EXPECT_EQ(result_of({"inspect", at("centred")}).at("centered"), true);
  EXPECT_THAT(run_corda({"inspect", at("centred")}).out, HasSubstr("centered"));
}

// One pass equals calibrating first, with the mean and without.
TEST_F(Center, OfEvaFromDataIsThatOfCalibrateCenter) {
  result_of(calibrating("centred", {"--center"}));
  result_of(calibrating("whole"));
  auto one = from_data();
  const ProcessResult made = run_corda(decomposing("eva-1", one));
  EXPECT_EQ(made.exit_code, 0) << made.err;
  EXPECT_THAT(made.err, Not(HasSubstr("PEFT")));
  const std::string resolved = core::read_file(path("eva-1/settings.resolved.yaml"));
  EXPECT_THAT(resolved, HasSubstr("center: true"));
  EXPECT_THAT(resolved, HasSubstr("activation_scaling: none"));
  result_of(decomposing("eva-2", {"--covariance", at("centred")}));
  EXPECT_EQ(factors("eva-1"), factors("eva-2"));

  one.insert(one.end(), {"--center", "false"});
  result_of(decomposing("uncentred-1", one));
  const ProcessResult noted = run_corda(decomposing("uncentred-2", {"--covariance", at("whole")}));
  EXPECT_EQ(noted.exit_code, 0) << noted.err;
  EXPECT_THAT(noted.err, HasSubstr("keeps the mean of the inputs and divides samples by their "
                                   "largest activation, as PEFT's EVA does not; corda calibrate "
                                   "--center makes one like PEFT's"));
  EXPECT_EQ(factors("uncentred-1"), factors("uncentred-2"));
  EXPECT_NE(factors("uncentred-1"), factors("eva-1"));
}

// To every other reader the mean of the inputs counts.
TEST_F(Center, WhatWeighsOutputsRefusesACentredCovariance) {
  result_of(calibrating("centred", {"--center"}));
  result_of(
      {"decompose", "--method", "pissa", "--model", base(), "--rank", "2", "--out", at("start")});
  result_of({"export", "--adapter", at("start"), "--out", at("adapter")});
  write("t.yaml", train_config("method: lora\nlora: {rank: 2}\ngauge: {covariance: " +
                               at("centred") + "}\nout: " + at("run")));
  const std::vector<std::vector<std::string>> readers = {
      {"decompose", "--model", base(), "--mode", "kpa", "--rank", "2", "--covariance",
       at("centred"), "--out", at("out")},
      {"merge", "--model", base(), "--adapter", at("adapter"), "--dtype", "bf16", "--covariance",
       at("centred"), "--out", at("out")},
      {"quantize", "--model", base(), "--to", "nf4", "--covariance", at("centred"), "--out",
       at("out")},
      {"inspect", at("adapter"), "--covariance", at("centred")},
      {"train", "--config", at("t.yaml")}};
  for (const auto& words : readers) {
    const ProcessResult result = run_corda(words);
    EXPECT_EQ(result.exit_code, 2) << words[0] << ": " << result.err;
    EXPECT_THAT(result.err, HasSubstr("the covariance '" + at("centred") +
                                      "' is centred, so it does not know what the mean of the "
                                      "inputs does, which counts for "))
        << words[0];
  }
}

}  // namespace
}  // namespace corda
