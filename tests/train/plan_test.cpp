// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What is planned is what is then done, and what cannot be done is refused before it is begun.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/train/train.h"
#include "core/json.h"
#include "small_run.h"
#include "support/error_of.h"

namespace corda::train {
namespace {

namespace fs = std::filesystem;
using ::corda::testing::error_of;
using ::testing::HasSubstr;

class Log final : public core::Reporter {
 public:
  void log(core::LogLevel /*level*/, std::string_view message) override {
    text_ += std::string(message) + "\n";
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

class Plan : public testing::SmallRun {
 protected:
  TrainPlan plan_of(const TrainSettings& settings) { return plan(settings, false, reporter_); }
  template <typename Error>
  std::string refusal(const TrainSettings& settings) {
    return error_of<Error>([&] { plan_of(settings); });
  }
  TrainSettings settings() const { return small_settings("run"); }
};

// The tiny model: hidden 32, intermediate 48, 2 layers, 4 and 2 heads, vocabulary 257, untied.
TEST_F(Plan, CountsStepsTokensAndParameters) {
  TrainSettings run = settings();
  run.optim.epochs = 2.5;
  run.optim.batch_size = 3;
  run.optim.warmup_ratio = 0.1;
  run.data.eval = {{.path = folder_.path() / "task.jsonl", .count = 5}};
  const TrainPlan plan = plan_of(run);
  EXPECT_EQ(plan.samples, 16);
  EXPECT_EQ(plan.evaluation_samples, 5);
  EXPECT_EQ(plan.steps_per_epoch, 6);
  EXPECT_EQ(plan.steps, 15);
  EXPECT_EQ(plan.warmup_steps, 2);
  EXPECT_GT(plan.supervised_tokens, 0);
  EXPECT_LT(plan.supervised_tokens, plan.tokens);
  const std::int64_t attention = 32 * 32 + 2 * 16 * 32 + 32 * 32;
  const std::int64_t block = attention + 3 * 32 * 48 + 2 * 32;
  EXPECT_EQ(plan.model_parameters, 2 * 257 * 32 + 32 + 2 * block);
  // Rank 4: r (in + out) of q, k, v, o, gate, up, down.
  const std::int64_t sides = 64 + 48 + 48 + 64 + 80 + 80 + 80;
  EXPECT_EQ(plan.trained_parameters, 2 * 4 * sides);
  EXPECT_EQ(plan.state_bytes, 4 * plan.model_parameters + 16 * plan.trained_parameters);
  EXPECT_EQ(plan.device, "cpu");
  EXPECT_EQ(plan.settings.precision, "fp32");
  EXPECT_FALSE(fs::exists(run.out));
}

// 16 steps of a linear fall after 4 of warm-up: rates of 0, 1/4 ... 3/4 and 1, 11/12 ... 1/12.
TEST_F(Plan, WeightDecayIsWhatItAddsUpTo) {
  TrainSettings run = settings();
  run.optim.batch_size = 1;
  run.optim.schedule = "linear";
  run.optim.warmup_ratio = 0.25;
  run.optim.lr = 0.1;
  const double rates = 0.1 * (1.5 + 6.5);
  run.optim.weight_decay = 5;
  EXPECT_NEAR(plan_of(run).decay_total, 5 * rates, 1e-12);
  EXPECT_EQ(plan_of(run).weight_decay, 5);
  run.optim.weight_decay = 0;
  run.optim.decay_total = 2;
  run.optim.lora_plus_ratio = 4;
  const TrainPlan plan = plan_of(run);
  EXPECT_NEAR(plan.weight_decay, 2 / rates, 1e-12);
  EXPECT_NEAR(plan.decay_total, 2, 1e-12);
  EXPECT_THAT(describe(plan),
              ::testing::Contains("weight decay 2.5 adds up to 2 over the run: a weight without a "
                                  "gradient ends at 0.135 of itself; for B, with its rate, to 8"));
  run.optim.max_steps = 1;
  EXPECT_EQ(refusal<core::ConfigError>(run),
            "'optim.decay_total' is 2, but the learning rate of every step is 0 (1 steps, of which "
            "1 are warm-up); train longer or lower optim.warmup_ratio");
}

TEST_F(Plan, WarnsOfADecayThatTurnsWeightsRound) {
  TrainSettings run = settings();
  run.optim.lr = 0.1;
  run.optim.weight_decay = 12;
  Log log;
  plan(run, false, log);
  EXPECT_THAT(log.text(),
              HasSubstr("weight decay 12 at the highest rate takes 1.2 times a weight"));
  run.optim.weight_decay = 10;
  Log quiet;
  plan(run, false, quiet);
  EXPECT_THAT(quiet.text(), ::testing::Not(HasSubstr("takes")));
}

TEST_F(Plan, WarnsOfStepsAtWhichThereIsNothingToDo) {
  TrainSettings run = settings();
  run.eval.every = 2;
  run.gauge.every = 3;
  run.data.eval.clear();
  Log log;
  plan(run, false, log);
  EXPECT_THAT(log.text(), HasSubstr("eval.every is 2, and nothing is evaluated: data.eval names no "
                                    "file"));
  EXPECT_THAT(log.text(), HasSubstr("gauge.every is 3, and nothing is gauged: gauge.covariance "
                                    "names no covariance"));
}

TEST_F(Plan, WarnsOfARateOfBThatIsNotTrained) {
  TrainSettings run = settings();
  run.method = "pissa";
  run.optim.lora_plus_ratio = 4;
  constexpr const char* kSaid =
      "optim.lora_plus_ratio (4) is of the rate of B, which is not trained, and changes nothing";
  Log both;
  plan(run, false, both);
  EXPECT_THAT(both.text(), ::testing::Not(HasSubstr(kSaid)));
  run.train_b = "false";
  Log frozen;
  plan(run, false, frozen);
  EXPECT_THAT(frozen.text(), HasSubstr(kSaid));
}

TEST_F(Plan, ATokenThatTheModelHasNoRowForIsRefusedWithItsRecord) {
  corda::testing::write_tiny_model(folder_.path() / "base", {.vocab = 123});
  core::write_file_atomic(folder_.path() / "z.jsonl",
                          "{\"prompt\": \"a\", \"completion\": \"b\"}\n"
                          "{\"prompt\": \"a\", \"completion\": \"xyz\"}\n");
  const std::string said =
      (folder_.path() / "z.jsonl").string() +
      ":2:1: token id 123 ('z') is beyond the model's vocabulary of 123 tokens";
  for (const bool evaluated : {false, true}) {
    TrainSettings run = settings();
    auto& files = evaluated ? run.data.eval : run.data.train;
    files = {{.path = folder_.path() / "z.jsonl"}};
    EXPECT_THAT(refusal<core::ConfigError>(run), HasSubstr(said));
    EXPECT_THAT(error_of<core::ConfigError>([&] { train(run, false, reporter_); }),
                HasSubstr(said));
  }
}

TEST_F(Plan, ReplayAddsItsShareToAnEpoch) {
  TrainSettings run = settings();
  core::write_file_atomic(folder_.path() / "wiki.txt", std::string(4000, 'w'));
  run.data.replay = {.files = {{.path = folder_.path() / "wiki.txt"}}, .share = 0.2};
  const TrainPlan plan = plan_of(run);
  EXPECT_EQ(plan.samples, 20);  // 16 of the task
  EXPECT_EQ(plan.replayed_samples, 4);
  EXPECT_EQ(plan.steps, 10);
  EXPECT_THAT(describe(plan), ::testing::Contains("4 of the 20 samples of an epoch are replayed"));
}

TEST_F(Plan, RankStabilisedAlphaHasTheRootOfTheRank) {
  TrainSettings run = settings();
  run.lora.alpha = 8;
  run.lora.use_rslora = true;
  const TrainPlan plan = plan_of(run);
  EXPECT_EQ(plan.settings.lora.alpha, 16);  // / 4 is 8 / sqrt(4)
  EXPECT_FALSE(plan.settings.lora.use_rslora);
  EXPECT_EQ(plan_of(plan.settings).settings.lora.alpha, 16);  // given again it means the same
}

TEST_F(Plan, IsWhatTrainingSaysAndDoes) {
  TrainSettings first = settings();
  train(first, false, reporter_);  // for an adapter to start from
  for (const std::string method : {"lora", "dora", "pissa", "full", "given"}) {
    TrainSettings run = small_settings("run-" + method);
    run.method = method == "given" ? "lora" : method;
    if (method == "given") run.adapter = first.out + "/adapter";
    if (method == "full" || method == "given") run.lora.rank = 0;
    run.optim.max_steps = 2;
    const TrainPlan plan = plan_of(run);
    Log log;
    const TrainResult result = train(run, false, log);
    EXPECT_EQ(result.steps, plan.steps) << method;
    for (const std::string& line : describe(plan))
      EXPECT_THAT(log.text(), HasSubstr(line)) << method;
  }
}

TEST_F(Plan, ADualAdapterTrainsBAlone) {
  TrainSettings run = settings();
  run.train_a = "false";
  const std::int64_t outs = 32 + 16 + 16 + 32 + 48 + 48 + 32;
  EXPECT_EQ(plan_of(run).trained_parameters, 2 * 4 * outs);
}

TEST_F(Plan, RefusesWhatIsNotThere) {
  TrainSettings run = settings();
  run.model = "not-there";
  EXPECT_THAT(refusal<core::IoError>(run), HasSubstr("not-there"));
  run = settings();
  run.data.train[0].path = "not-there.jsonl";
  EXPECT_THAT(refusal<core::IoError>(run), HasSubstr("not-there.jsonl"));
  run = settings();
  run.data.eval = {{.path = "not-there-either.jsonl"}};
  EXPECT_THAT(refusal<core::IoError>(run), HasSubstr("not-there-either.jsonl"));
  run = settings();
  run.adapter = "no-adapter";
  EXPECT_THAT(refusal<core::IoError>(run), HasSubstr("no-adapter"));
  run = settings();
  run.device = "cuda:99";
  EXPECT_THAT(refusal<core::ResourceError>(run), HasSubstr("'cuda:99' does not exist"));
  run = settings();
  run.data.template_name = "not-there.jinja";
  EXPECT_THAT(refusal<core::IoError>(run), HasSubstr("not-there.jinja"));
}

TEST_F(Plan, RefusesWhatDoesNotFitTheModel) {
  TrainSettings run = settings();
  run.lora.rank = 999;
  EXPECT_THAT(refusal<core::ConfigError>(run), HasSubstr("lora.rank"));
  run = settings();
  run.lora.target_modules = {"q_proj", "query_key_value"};
  EXPECT_THAT(refusal<core::ConfigError>(run), HasSubstr("query_key_value"));
  run = settings();
  run.lora.target_modules = {"all-linear", "q_proj"};
  EXPECT_THAT(refusal<core::ConfigError>(run), HasSubstr("'all-linear' means every linear layer"));
  run = settings();
  run.method = "dora";
  run.recompute = "block";
  EXPECT_THAT(refusal<core::ConfigError>(run), HasSubstr("'recompute'"));
  run = settings();
  run.offload = "true";
  EXPECT_THAT(refusal<core::ConfigError>(run), HasSubstr("'offload: true' needs a GPU"));
  testing::write_tiny_model(folder_.path() / "other", {.vocab = 257, .hidden = 16});
  train(settings(), false, reporter_);
  run = small_settings("second");
  run.model = (folder_.path() / "other").string();
  run.adapter = settings().out + "/adapter";
  EXPECT_THAT(refusal<core::ConfigError>(run), HasSubstr("another"));
}

TEST_F(Plan, RefusesARunDirectoryThatTrainingWouldRefuse) {
  TrainSettings run = settings();
  train(run, false, reporter_);
  EXPECT_THAT(refusal<core::ConfigError>(run), HasSubstr("holds a finished run"));
  TrainSettings other = run;
  other.method = "full";
  other.lora.rank = 0;
  EXPECT_THAT(refusal<core::ConfigError>(other), HasSubstr("holds a finished run"));
  TrainSettings beside = settings();  // a user's folder that is called as a result is
  beside.out = (folder_.path() / "work").string();
  fs::create_directories(fs::path(beside.out) / "model");
  EXPECT_NO_THROW(plan_of(beside));
  run.out = (folder_.path() / "task.jsonl/run").string();
  EXPECT_THAT(refusal<core::ResourceError>(run), HasSubstr("cannot create"));
  if (::geteuid() == 0) return;  // who may write anywhere
  fs::create_directory(folder_.path() / "read-only");
  fs::permissions(folder_.path() / "read-only", fs::perms::owner_read | fs::perms::owner_exec);
  run.out = (folder_.path() / "read-only/run").string();
  EXPECT_THAT(refusal<core::ResourceError>(run), HasSubstr("cannot create"));
}

// The narrowest layers have 16 rows.
TEST_F(Plan, WithoutARankTheAdapterHasWhatFits) {
  TrainSettings run = settings();
  run.lora.rank = 0;
  EXPECT_EQ(plan_of(run).settings.lora.rank, 16);
  run.lora.target_modules = {"gate_proj"};
  EXPECT_EQ(plan_of(run).settings.lora.rank, 32);
  run.lora.rank = 33;
  EXPECT_THAT(refusal<core::ConfigError>(run), HasSubstr("lora.rank"));
}

TEST_F(Plan, OfAContinuationRefusesWhatTheContinuationWouldRefuse) {
  TrainSettings run = settings();
  run.checkpoint.every = 4;
  run.checkpoint.minutes = 0;
  train(run, false, reporter_);
  fs::remove_all(fs::path(run.out) / "adapter");  // as if it had been killed before
  EXPECT_EQ(plan(run, true, reporter_).steps, 8);
  run.optim.lr = 0.5;
  EXPECT_THAT(error_of<core::ConfigError>([&] { plan(run, true, reporter_); }),
              HasSubstr("'optim.lr' was 0.001 and is 0.5 now"));
  EXPECT_THAT(refusal<core::ConfigError>(run), HasSubstr("holds an unfinished run"));
}

// Linear warm-up begins at 0.
TEST_F(Plan, WarnsWhereTheOnlyStepLearnsNothing) {
  TrainSettings run = settings();
  run.optim.max_steps = 1;
  run.optim.warmup_ratio = 0.03;
  Log log;
  plan(run, false, log);
  EXPECT_THAT(log.text(), HasSubstr("learning rate 0, so nothing will be learnt"));
}

TEST_F(Plan, AllLinearIsEveryLayerOfABlock) {
  EXPECT_THAT(TrainSettings().lora.target_modules, ::testing::IsEmpty());
  TrainSettings run = settings();
  const TrainPlan all = plan_of(run);
  EXPECT_THAT(all.settings.lora.target_modules,
              ::testing::ElementsAre("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
                                     "down_proj"));
  run.lora.target_modules = all.settings.lora.target_modules;
  EXPECT_EQ(plan_of(run).trained_parameters, all.trained_parameters);
  run.lora.target_modules = {"All-Linear"};
  EXPECT_EQ(plan_of(run).trained_parameters, all.trained_parameters);
  run.lora.target_modules = {"v_proj", "q_proj"};
  EXPECT_LT(plan_of(run).trained_parameters, all.trained_parameters);
}

TEST_F(Plan, AWholeNameIsOneLayer) {
  TrainSettings run = settings();
  run.lora.target_modules = {"model.layers.1.self_attn.q_proj"};
  const TrainPlan one = plan_of(run);
  EXPECT_EQ(one.trained_parameters, 4 * (32 + 32));
  EXPECT_EQ(one.settings.lora.target_modules, run.lora.target_modules);
}

TEST_F(Plan, SamplesThatAreLongerThanThePositionsAreWarnedOfAsInTraining) {
  TrainSettings run = settings();
  run.optim.max_steps = 2;
  const std::int64_t longest = plan_of(run).longest_sample;
  const std::int64_t positions = longest - 1;
  const fs::path config = folder_.path() / "base/config.json";
  core::Json changed = core::read_json(config);
  changed["max_position_embeddings"] = positions;
  core::write_json(config, changed);
  const std::string warning =
      "a sample of " + std::to_string(longest) + " tokens is longer than the " +
      std::to_string(positions) +
      " positions the model was trained for; data.max_length=" + std::to_string(positions) +
      " keeps samples within them";
  Log planned;
  plan(run, false, planned);
  EXPECT_THAT(planned.text(), HasSubstr(warning));
  Log trained;
  train(run, false, trained);
  EXPECT_THAT(trained.text(), HasSubstr(warning));
  run.out += "-cut";
  run.data.max_length = positions;
  Log cut;
  plan(run, false, cut);
  EXPECT_THAT(cut.text(), ::testing::Not(HasSubstr("positions")));
  // The samples of the evaluation are looked at as well.
  run.data.eval = run.data.train;
  run.data.train = {{.path = folder_.path() / "short.jsonl"}};
  std::ofstream(folder_.path() / "short.jsonl") << R"({"prompt": "a", "completion": "b"})"
                                                << "\n";
  run.data.max_length = 512;
  Log evaluated;
  plan(run, false, evaluated);
  EXPECT_THAT(evaluated.text(), HasSubstr(warning));
}

// Where permissions would allow it, too: the kernel makes no folders there.
TEST_F(Plan, AnOutputThatCannotBeMadeIsRefused) {
  TrainSettings run = settings();
  run.out = "/proc/corda/run";
  EXPECT_THAT(refusal<core::ResourceError>(run), HasSubstr("cannot create '/proc/corda/run'"));
  run.out = "/proc";
  EXPECT_THAT(refusal<core::ResourceError>(run), HasSubstr("cannot create '/proc'"));
}

TEST_F(Plan, LeavesNoFolderBehind) {
  TrainSettings run = settings();
  run.out = (folder_.path() / "a/b/run/").string();
  plan_of(run);
  EXPECT_FALSE(fs::exists(folder_.path() / "a"));
  fs::create_directories(folder_.path() / "a/b");
  plan_of(run);
  EXPECT_TRUE(fs::is_empty(folder_.path() / "a/b"));
  fs::create_directories(run.out);
  plan_of(run);
  EXPECT_TRUE(fs::is_empty(run.out));
}

// `corda train` has no flag --skip-bad.
TEST_F(Plan, ABadRecordIsRefusedWithTheSettingThatLeavesItOut) {
  TrainSettings run = small_settings("bad");
  const fs::path path = folder_.path() / "bad.jsonl";
  core::write_file_atomic(path, "{\"prompt\": \"a\", \"completion\": \"b\"}\n{broken\n");
  run.data.train = {{.path = path}};
  EXPECT_THAT(
      error_of<core::FormatError>([&] { train(run, false, reporter_); }),
      ::testing::AllOf(HasSubstr("bad.jsonl:2:"),
                       HasSubstr("bad records are left out, and listed, with data.skip_bad: true"),
                       ::testing::Not(HasSubstr("--skip-bad"))));
}

}  // namespace
}  // namespace corda::train
