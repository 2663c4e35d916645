// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "study/compare_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "support/error_of.h"

namespace corda::study {
namespace {

using corda::testing::error_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

CompareSettings settings_from(const std::string& yaml) {
  CompareSettings settings;
  settings_of(settings).read(core::parse_yaml(yaml, "study.yaml"));
  return settings;
}

const std::string kStudy = R"(
model: base
out: o
train:
  data: {train: task.jsonl}
  optim: {lr: 0.5, weight_decay: 0.25}
  lora: {rank: 8}
calibrations:
  facts: {data: facts.jsonl, samples: 4}
  task: {data: task.jsonl, samples: 5}
  unused: {data: other.jsonl}
methods:
  lora: {}
  kpa: {decompose: {mode: kpa, covariance: [facts]}, rates: [0.125]}
  dual: {decompose: {mode: dual, covariance: facts, task_covariance: task}, train: {train_a: "false"}}
  whole: {train: {method: full}, rates: [0.0625]}
rates: [0.5, 0.25]
seeds: [0, 7]
evaluate:
  task: {task: perplexity, data: test.jsonl}
  facts: {task: qa, data: facts.jsonl}
)";

std::vector<std::string> names(const ComparePlan& plan) {
  std::vector<std::string> all;
  for (const PlannedRun& run : plan.runs) all.push_back(run.name);
  return all;
}

TEST(ComparePlan, EverySeedHasEveryMethodAtEveryRate) {
  const ComparePlan plan = plan_of(settings_from(kStudy), {});
  EXPECT_THAT(names(plan), ElementsAre("lora-lr0.5-s0", "lora-lr0.25-s0", "kpa-lr0.125-s0",
                                       "dual-lr0.5-s0", "dual-lr0.25-s0", "whole-lr0.0625-s0",
                                       "lora-lr0.5-s7", "lora-lr0.25-s7", "kpa-lr0.125-s7",
                                       "dual-lr0.5-s7", "dual-lr0.25-s7", "whole-lr0.0625-s7"));
  const PlannedRun& lora = plan.runs[7];
  EXPECT_EQ(lora.group, "lora");
  EXPECT_EQ(lora.train.method, "lora");
  EXPECT_EQ(lora.train.model, "base");
  EXPECT_EQ(lora.train.out, "o/runs/lora-lr0.25-s7");
  EXPECT_EQ(lora.train.optim.lr, 0.25);
  EXPECT_EQ(lora.train.optim.weight_decay, 0.25);
  EXPECT_EQ(lora.train.lora.rank, 8);
  EXPECT_EQ(lora.train.seed, 7);
  const PlannedRun& dual = plan.runs[3];
  EXPECT_EQ(dual.train.method, "corda");
  EXPECT_EQ(dual.train.adapter, "o/adapters/dual");
  EXPECT_EQ(dual.train.train_a, "false");
  EXPECT_EQ(plan.runs[5].train.method, "full");
}

TEST(ComparePlan, AnAdapterIsSharedByRatesAndSeedsAndCalibratedOnWhatItNames) {
  const ComparePlan plan = plan_of(settings_from(kStudy), {});
  ASSERT_EQ(plan.adapters.size(), 2U);
  const auto& dual = plan.adapters.at("dual");
  EXPECT_THAT(dual.covariance, ElementsAre("o/covariance/facts"));
  EXPECT_EQ(dual.task_covariance, "o/covariance/task");
  EXPECT_EQ(dual.rank, 8);
  EXPECT_EQ(dual.out, "o/adapters/dual");
  EXPECT_THAT(plan.calibrations_of.at("dual"), ElementsAre("facts", "task"));
  ASSERT_EQ(plan.calibrations.size(), 2U);  // nobody needs the third
  EXPECT_EQ(plan.calibrations.at("task").samples, 5);
  ASSERT_EQ(plan.evaluations.size(), 2U);
  EXPECT_EQ(plan.evaluations[1].first, "facts");
  EXPECT_EQ(plan.evaluations[1].second.task, "qa");
}

TEST(ComparePlan, AxesOfSeveralValuesAreInTheNames) {
  CompareSettings settings = settings_from(kStudy);
  settings.ranks = {4, 16};
  settings.decays = {0, 10};
  settings.seeds = {1};
  settings.rates = {0.5};
  settings.modules = core::parse_yaml("{mlp: [up_proj, down_proj], all: [all-linear]}", "m");
  const ComparePlan plan = plan_of(settings, {});
  // 3 adapter methods x 2 ranks x 2 module sets x 2 decays, and full at 2 decays.
  ASSERT_EQ(plan.runs.size(), 26U);
  EXPECT_EQ(plan.runs[0].name, "lora-r4-mlp-wd0-lr0.5-s1");
  EXPECT_THAT(plan.runs[0].train.lora.target_modules, ElementsAre("up_proj", "down_proj"));
  EXPECT_EQ(plan.runs[8].name, "kpa-r4-mlp-wd0-lr0.125-s1");
  EXPECT_EQ(plan.runs[8].adapter, "kpa-r4-mlp");
  EXPECT_EQ(plan.runs[9].adapter, "kpa-r4-mlp");
  EXPECT_EQ(plan.adapters.at("kpa-r16-all").rank, 16);
  EXPECT_THAT(plan.adapters.at("kpa-r4-mlp").target_modules, ElementsAre("up_proj", "down_proj"));
  EXPECT_EQ(plan.runs[25].name, "whole-wd10-lr0.0625-s1");
}

TEST(ComparePlan, AllThatIsWrongIsSaidAtOnceWithItsPlace) {
  const std::string error = error_of<core::ConfigError>([] {
    plan_of(settings_from(R"(
model: base
out: o
train: {data: {train: t.jsonl}, out: mine}
calibrations:
  facts: {data: f.jsonl, sample: 4}
methods:
  lora: {rate: [1]}
  kpa: {decompose: {mode: kap, covariance: facts}}
evaluate:
  task: {task: perplexity, data: t.jsonl, model: m}
)"),
            {});
  });
  EXPECT_THAT(error,
              HasSubstr("study.yaml:8: method 'lora' has no 'rate' (did you mean 'rates'?)"));
  EXPECT_THAT(error, HasSubstr("study.yaml:4: 'out' is each run's own"));
  EXPECT_THAT(error, HasSubstr("study.yaml:11: 'model' is given by the study; leave it out here"));
}

TEST(ComparePlan, WrongSettingsOfVerbsNameTheirPlace) {
  const auto error_with = [](const std::string& from, const std::string& to) {
    std::string yaml = kStudy;
    yaml.replace(yaml.find(from), from.size(), to);
    return error_of<core::ConfigError>([&] { plan_of(settings_from(yaml), {}); });
  };
  EXPECT_THAT(error_with("mode: kpa", "mode: kap"), HasSubstr("'methods.kpa': study.yaml:14:"));
  EXPECT_THAT(error_with("samples: 5", "sample: 5"),
              HasSubstr("'calibrations.task': study.yaml:10:"));
  EXPECT_THAT(error_with("task: qa", "task: q"), HasSubstr("'evaluate.facts': study.yaml:21:"));
  EXPECT_THAT(error_with("mode: dual", "mode: ipa"),
              HasSubstr("'methods.dual': --task-covariance and --task-data are for modes dual"));
  EXPECT_THAT(error_with("mode: kpa", "mode: kpa, beta: 0.7"),
              HasSubstr("'methods.kpa': 'beta' is for mode sc, not mode kpa"));
  EXPECT_THAT(error_with("method: full", "method: ful"), HasSubstr("'methods.whole': study.yaml:"));
}

// What a run depends on, and what it does not.
TEST(ComparePlan, ARunIsBoundToItsSettingsNotToItsPlace) {
  const auto text = [](const CompareSettings& settings) {
    const ComparePlan plan = plan_of(settings, {});
    return core::to_yaml(binding_of(plan, plan.runs[3]));  // dual
  };
  const std::string before = text(settings_from(kStudy));
  CompareSettings moved = settings_from(kStudy);
  moved.out = "elsewhere";
  moved.threads = 3;
  moved.seeds = {0};
  EXPECT_EQ(text(moved), before);
  for (const auto& [from, to] : {std::pair{"samples: 4", "samples: 6"},
                                 {"rank: 8", "rank: 9"},
                                 {"mode: dual", "mode: sc"}}) {
    std::string yaml = kStudy;
    yaml.replace(yaml.find(from), std::string(from).size(), to);
    EXPECT_NE(text(settings_from(yaml)), before) << to;
  }
}

// A study that was begun before inputs could be centred goes on.
TEST(ComparePlan, OnlyCentredInputsAreBound) {
  const auto text = [](const std::string& yaml) {
    const ComparePlan plan = plan_of(settings_from(yaml), {});
    return core::to_yaml(binding_of(plan, plan.runs[3])) +
           core::to_yaml(binding_of(plan.calibrations.at("facts")));
  };
  const auto changed = [](const std::string& from, const std::string& to) {
    std::string yaml = kStudy;
    yaml.replace(yaml.find(from), from.size(), to);
    return yaml;
  };
  const std::string before = text(kStudy);
  EXPECT_THAT(before, HasSubstr("activation_scaling: reference"));
  EXPECT_THAT(before, ::testing::Not(HasSubstr("activation_scaling: auto")));
  EXPECT_THAT(before, ::testing::Not(HasSubstr("center")));
  EXPECT_EQ(text(changed("samples: 4", "samples: 4, activation_scaling: reference")), before);
  EXPECT_NE(text(changed("samples: 4", "samples: 4, activation_scaling: none")), before);
  const std::string eva = changed("{mode: kpa, covariance: [facts]}", "{mode: eva, covariance: c}");
  const auto with = [&](const std::string& more) {
    return std::string(eva).replace(eva.find("  unused:"), 0, "  c: {data: x" + more + "}\n");
  };
  const auto bound = [&](const std::string& more) {
    return core::to_yaml(binding_of(plan_of(settings_from(with(more)), {}).calibrations.at("c")));
  };
  EXPECT_THAT(bound(", center: true"), HasSubstr("center: true"));
  EXPECT_THAT(bound(", center: true"), HasSubstr("activation_scaling: none"));
  EXPECT_EQ(bound(", center: false"), bound(""));
  EXPECT_EQ(bound(", of: inputs"), bound(""));
  EXPECT_THAT(bound(""), ::testing::Not(HasSubstr("gradient")));
  const auto task = plan_of(settings_from(changed("samples: 5", "of: gradients")), {});
  EXPECT_THAT(core::to_yaml(binding_of(task.calibrations.at("task"))),
              ::testing::AllOf(HasSubstr("of: gradients"), HasSubstr("gradient_batch: 32"),
                               HasSubstr("activation_scaling: none")));
}

// What decompose would refuse after hours is said at once.
TEST(ComparePlan, ACentredCalibrationIsForEvaAndForItsLike) {
  std::string yaml = kStudy;
  yaml.replace(yaml.find("samples: 4"), 10, "center: true");
  EXPECT_THAT(error_of<core::ConfigError>([&] { plan_of(settings_from(yaml), {}); }),
              ::testing::AllOf(HasSubstr("the calibration 'facts' has 'center: true', and for mode "
                                         "kpa the mean of the inputs counts"),
                               HasSubstr("for mode dual the mean")));
  yaml.replace(yaml.find("{mode: kpa, covariance: [facts]}"), 32,
               "{mode: eva, covariance: [facts, task]}");
  EXPECT_THAT(error_of<core::ConfigError>([&] { plan_of(settings_from(yaml), {}); }),
              HasSubstr("the calibration 'facts' has 'center: true' and 'task' has not"));
}

TEST(ComparePlan, ACalibrationOfGradientsIsDualsTaskAlone) {
  std::string yaml = kStudy;
  yaml.replace(yaml.find("samples: 4"), 10, "of: gradients");
  EXPECT_THAT(
      error_of<core::ConfigError>([&] { plan_of(settings_from(yaml), {}); }),
      HasSubstr("the calibration 'facts' has 'of: gradients', which mode dual alone takes"));
  yaml = kStudy;
  yaml.replace(yaml.find("samples: 5"), 10, "of: gradients");
  EXPECT_EQ(plan_of(settings_from(yaml), {}).calibrations.at("task").of, "gradients");
}

// The shipped files, without the data and models that they name.
TEST(ComparePlan, TheShippedStudiesAreUnderstood) {
  std::map<std::string, std::size_t> runs;
  for (const auto& entry : fs::directory_iterator(fs::path(CORDA_SOURCE_DIR) / "configs/studies")) {
    const std::string name = entry.path().stem().string();
    if (entry.path().extension() != ".yaml" || name.starts_with("truncation")) continue;
    const CompareSettings settings = settings_from(core::read_file(entry.path()));
    EXPECT_NE(settings.evaluate.find(settings.task), nullptr) << name;
    runs[name] = plan_of(settings, {}).runs.size();
  }
  EXPECT_THAT(
      runs, ElementsAre(::testing::Pair("code", 9), ::testing::Pair("gsm8k-small-models", 14),
                        ::testing::Pair("nano-qa", 57), ::testing::Pair("nano-qa-dual", 24),
                        ::testing::Pair("paper-code", 5), ::testing::Pair("paper-instructions", 5),
                        ::testing::Pair("paper-math", 5), ::testing::Pair("peft-metamath", 10),
                        ::testing::Pair("shakespeare", 22)));
}

}  // namespace
}  // namespace corda::study
