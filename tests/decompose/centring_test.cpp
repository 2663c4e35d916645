// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Covariances without the mean of the inputs: who takes them, and what is said.
#include "decompose/centring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "decompose/small_model.h"
#include "support/captured_log.h"

namespace corda::decompose {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class Centring : public Decompose {
 protected:
  // The covariance of the fixture again, with another manifest.
  std::string written(const std::string& name, bool centered, const std::string& scaling) const {
    const fs::path directory = scratch_.path() / name;
    io::CovarianceWriter writer(directory, io::CovarianceStorage::kFull);
    std::uint64_t seed = 100;
    for (const auto& site : sites())
      writer.add(site.name, site.modules, kTokens, covariance(site.width, ++seed));
    io::CovarianceManifest manifest;
    manifest.model = io::Checkpoint(model_).fingerprint();
    manifest.activation_scaling = scaling;
    manifest.centered = centered;
    writer.finish(manifest);
    return directory.string();
  }
  std::string said(const DecomposeSettings& s) const {
    CapturedLog log;
    decompose::decompose(s, log);
    return log.text;
  }
};

TEST_F(Centring, EvaAloneTakesACentredCovariance) {
  const std::string centred = written("centred", true, "none");
  int refused = 0;
  for (const Mode& mode : modes()) {
    if (mode.input == Input::kWeight) continue;
    SCOPED_TRACE(mode.name);
    EXPECT_EQ(mode.centres, mode.name == "eva");
    if (mode.centres) continue;
    DecomposeSettings s = settings(std::string(mode.name));
    set_mode(s, std::string(mode.name), covariance_.string());
    s.covariance = {centred};
    EXPECT_EQ(failure<core::ConfigError>(s),
              "the covariance '" + centred +
                  "' is centred, so it does not know what the mean of the inputs does, which "
                  "counts for mode " +
                  std::string(mode.name) + "; give one that corda calibrate made without --center");
    if (mode.input == Input::kBoth) {  // the task's too
      s.covariance = {covariance_.string()};
      s.task_covariance = centred;
      EXPECT_THAT(failure<core::ConfigError>(s), StartsWith("the covariance '" + centred + "' is"));
    }
    ++refused;
  }
  EXPECT_EQ(refused, 6);
}

// What PEFT does otherwise is said; the numbers are those of the covariance, whatever it is of.
TEST_F(Centring, EvaSaysWhereACovarianceIsNotAsPeftMakesIt) {
  struct Case {
    const char* name;
    bool centered;
    const char* scaling;
    const char* unlike;  // "": nothing
  };
  adapter::Adapter first;
  for (const Case& c :
       {Case{"like", true, "none", ""},
        Case{"whole", false, "none", "keeps the mean of the inputs"},
        Case{"scaled", true, "reference", "divides samples by their largest activation"},
        Case{"both", false, "reference",
             "keeps the mean of the inputs and divides samples by their largest activation"}}) {
    SCOPED_TRACE(c.name);
    DecomposeSettings s = settings(core::concat("eva-", c.name));
    s.mode = "eva";
    s.covariance = {written(c.name, c.centered, c.scaling)};
    const std::string text = said(s);
    if (std::string(c.unlike).empty()) {
      EXPECT_THAT(text, Not(HasSubstr("PEFT")));
    } else {
      EXPECT_THAT(text, HasSubstr("info: the covariance '" + s.covariance[0] + "' " + c.unlike +
                                  ", as PEFT's EVA does not; corda calibrate --center makes one "
                                  "like PEFT's\n"));
    }
    const adapter::Adapter made = adapter::read_adapter(s.out);
    if (first.layers.empty()) first = made;
    for (const auto& [module, layer] : first.layers)
      EXPECT_TRUE(at::equal(made.layers.at(module).a, layer.a)) << module;
  }
}

TEST_F(Centring, SomeOfSeveralAreNoSum) {
  DecomposeSettings s = settings();
  s.mode = "eva";
  s.covariance = {written("centred", true, "none"), written("whole", false, "none")};
  EXPECT_EQ(failure<core::ConfigError>(s),
            "the covariance '" + s.covariance[0] + "' is centred and '" + s.covariance[1] +
                "' is not; give several that corda calibrate made alike, all with --center or "
                "none");
  s.covariance[1] = written("second", true, "none");
  EXPECT_THAT(said(s), HasSubstr("each covariance is less its own mean"));
}

TEST_F(Centring, TheSettingIsOfEvaAndOfData) {
  DecomposeSettings s = settings();
  s.center = "true";
  EXPECT_EQ(failure<core::ConfigError>(s), "'center' is for --data, which is not given");
  s.center = "false";  // as it is done anyway
  s.activation_scaling = "reference";
  EXPECT_EQ(run(s).mode, "kpa");
  s.activation_scaling = "none";
  EXPECT_EQ(failure<core::ConfigError>(s),
            "'activation_scaling' is for --data, which is not given");
  s.activation_scaling = "auto";
  s.covariance.clear();
  s.data = {"text.txt"};
  s.center = "true";
  EXPECT_EQ(failure<core::ConfigError>(s), "'center' is for mode eva, not mode kpa");
  s.center = "maybe";
  EXPECT_THAT(failure<core::ConfigError>(s),
              HasSubstr("'center' must be one of auto, true, false"));
}

// Work that was begun before inputs could be centred is taken up: its folder says of it what it
// said.
TEST_F(Centring, OnlyCentredWorkIsBoundToIt) {
  for (const bool with_data : {false, true}) {
    for (const std::string mode : {"kpa", "eva"}) {
      SCOPED_TRACE(mode);
      DecomposeSettings s;
      s.mode = mode;
      if (with_data) s.data = {"text.txt"};
      settle_inputs(s);
      const bool centred = with_data && mode == "eva";
      const core::ConfigNode bound = settings_of(s).binding();
      EXPECT_EQ(bound.find("center") != nullptr, centred);
      EXPECT_EQ(bound.find("activation_scaling")->text, centred ? "none" : "reference");
    }
  }
}

}  // namespace
}  // namespace corda::decompose
