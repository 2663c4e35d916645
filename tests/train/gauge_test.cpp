// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The gauge in metrics.jsonl against that of the result.
#include "train/gauge.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <optional>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/io/tensor.h"
#include "corda/model/config.h"
#include "corda/model/sites.h"
#include "corda/train/train.h"
#include "core/json.h"
#include "small_run.h"
#include "support/error_of.h"
#include "support/random_tensor.h"

namespace corda::train {
namespace {

namespace fs = std::filesystem;
using ::corda::testing::error_of;
using ::corda::testing::random_tensor;
using ::testing::HasSubstr;

class GaugeOfARun : public testing::SmallRun {
 protected:
  void SetUp() override {
    SmallRun::SetUp();
    write_covariance("cov", "");
  }

  // Writes a covariance of all sites but `missing`.
  void write_covariance(const std::string& name, const std::string& missing) const {
    const io::Checkpoint base(folder_.path() / "base");
    io::CovarianceWriter writer(folder_.path() / name, io::CovarianceStorage::kFull);
    std::uint64_t seed = 1;
    for (const auto& site : model::sites_of(model::read_model_config(base.directory()))) {
      const at::Tensor inputs = random_tensor({60, site.in_features}, seed++);
      if (site.name != missing) writer.add(site.name, site.modules, 60, at::mm(inputs.t(), inputs));
    }
    writer.finish({.model = base.fingerprint(),
                   .model_name = "base",
                   .tokens = 60,
                   .samples = 1,
                   .activation_scaling = "none",
                   .settings = {},
                   .sites = {}});
  }

  TrainSettings settings(const std::string& out) const {
    TrainSettings result = small_settings(out);
    result.optim.lr = 1e-2;
    result.optim.max_steps = 6;
    result.gauge.covariance = (folder_.path() / "cov").string();
    return result;
  }

  std::vector<core::Json> metrics_of(const TrainSettings& run) const {
    std::vector<core::Json> lines;
    for (const auto& line : core::split(core::read_file(fs::path(run.out) / "metrics.jsonl"), '\n'))
      if (!line.empty()) lines.push_back(core::parse_json(line, "metrics.jsonl"));
    return lines;
  }

  static core::Json layers_of(const TrainSettings& run) {
    const std::string text = core::read_file(fs::path(run.out) / "forgetting.json");
    return core::parse_json(text, "forgetting.json");
  }

  struct Expected {
    double in_all = 0;
    std::map<std::string, double> kinds;
    std::map<std::string, double> layers;  // those that changed
  };

  // The gauge by its definition, from the files alone, with the weights that a merge would write.
  Expected gauge_of_result(const TrainSettings& run) const {
    const io::Checkpoint base(run.model);
    const io::CovarianceReader covariance(run.gauge.covariance);
    std::optional<adapter::Adapter> adapter;
    std::optional<io::Checkpoint> model;
    if (run.method == "full")
      model.emplace(fs::path(run.out) / "model");
    else
      adapter.emplace(adapter::read_adapter(fs::path(run.out) / "adapter"));
    Expected expected;
    std::map<std::string, double> squares;  // "": of all
    std::map<std::string, double> layers;
    for (const auto& [name, site] : covariance.manifest().sites) {
      const at::Tensor c = covariance.load(name).to(at::kDouble);
      for (const std::string& module : site.modules) {
        const at::Tensor before = io::view_tensor(base, module + ".weight").to(at::kDouble);
        at::Tensor after = before;
        if (model) {
          after = io::view_tensor(*model, module + ".weight").to(at::kDouble);
        } else if (adapter->layers.contains(module)) {
          const auto& layer = adapter->layers.at(module);
          after = adapter::merged_weight(before, layer, adapter->scale_of(layer)).to(at::kDouble);
        }
        const at::Tensor d = after - before;
        const double square = (at::mm(at::mm(d, c), d.t()).trace() / c.trace()).item<double>();
        const std::string kind(core::last_part(module));
        for (const std::string& group : {std::string(), kind}) {
          squares[group] += square;
          ++layers[group];
        }
        if (model || adapter->layers.contains(module)) {
          expected.layers[module] = std::sqrt(square);
          expected.kinds[kind] = 0;
        }
      }
    }
    expected.in_all = std::sqrt(squares[""] / layers[""]);
    for (auto& [kind, gauge] : expected.kinds) gauge = std::sqrt(squares[kind] / layers[kind]);
    return expected;
  }
};

TEST_F(GaugeOfARun, IsThatOfTheResultWhateverIsTrained) {
  const std::map<std::string, std::function<void(TrainSettings&)>> kinds = {
      {"lora", [](TrainSettings&) {}},
      {"frozen", [](TrainSettings& run) { run.train_a = "false"; }},
      {"rslora", [](TrainSettings& run) { run.lora.use_rslora = true; }},
      {"some",
       [](TrainSettings& run) {
         run.lora.target_modules = {"q_proj", "down_proj"};
       }},
      {"pissa", [](TrainSettings& run) { run.method = "pissa"; }},
      {"frozen pissa",
       [](TrainSettings& run) {
         run.method = "pissa";
         run.train_a = "false";
       }},
      {"dora", [](TrainSettings& run) { run.method = "dora"; }},
      {"full", [](TrainSettings& run) {
         run.method = "full";
         run.lora.rank = 0;
       }}};
  for (const auto& [name, change] : kinds) {
    TrainSettings run = settings("run-" + name);
    change(run);
    const TrainResult result = train(run, false, reporter_);
    const auto metrics = metrics_of(run);
    ASSERT_EQ(metrics.size(), 6U) << name;
    for (std::size_t i = 0; i < 5; ++i) EXPECT_FALSE(metrics[i].contains("forgetting")) << name;
    const Expected expected = gauge_of_result(run);
    EXPECT_GT(expected.in_all, 1e-3) << name;
    // The definition goes through weights in fp32, whose rounding is 1e-7 of a weight.
    const auto expect_near = [&, run_name = name](const core::Json& gauge, double value) {
      EXPECT_NEAR(gauge.get<double>(), value, 1e-4 * expected.in_all) << run_name;
    };
    expect_near(metrics[5]["forgetting"], expected.in_all);
    EXPECT_EQ(result.forgetting, metrics[5]["forgetting"].get<double>()) << name;
    const core::Json& by_kind = metrics[5]["forgetting_by_kind"];
    EXPECT_EQ(by_kind.size(), name == "some" ? 2U : 7U) << name;
    ASSERT_EQ(by_kind.size(), expected.kinds.size()) << name;
    for (const auto& [kind, gauge] : expected.kinds) expect_near(by_kind.at(kind), gauge);
    const core::Json file = layers_of(run);
    EXPECT_EQ(file.at("step"), 6) << name;
    EXPECT_EQ(file.at("in_all"), metrics[5]["forgetting"]) << name;
    ASSERT_EQ(file.at("layers").size(), expected.layers.size()) << name;
    for (const core::Json& layer : file.at("layers"))
      expect_near(layer.at("forgetting"), expected.layers.at(layer.at("module")));
  }
}

TEST_F(GaugeOfARun, GoesOnAfterAResumptionAsIfTheRunHadNotStopped) {
  TrainSettings run = settings("run");
  run.gauge.every = 2;
  run.checkpoint.every = 3;
  train(run, false, reporter_);
  const core::Json layers = layers_of(run);
  const fs::path metrics = fs::path(run.out) / "metrics.jsonl";
  const std::vector<core::Json> lines = metrics_of(run);
  EXPECT_EQ(layers.at("step"), 6);
  // As an older version left its lines.
  fs::remove_all(fs::path(run.out) / "adapter");
  std::string older;
  for (core::Json line : lines) {
    line.erase("forgetting_by_kind");
    older += line.dump() + "\n";
  }
  core::write_file_atomic(metrics, older);
  train(run, true, reporter_);
  EXPECT_EQ(layers_of(run), layers);
  const auto again = metrics_of(run);
  ASSERT_EQ(again.size(), 6U);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(again[i].value("forgetting", core::Json()),
              lines[i].value("forgetting", core::Json()));
    EXPECT_EQ(again[i].value("forgetting_by_kind", core::Json()),
              i < 3 ? core::Json() : lines[i].value("forgetting_by_kind", core::Json()));
  }
  ASSERT_EQ(again[5].at("forgetting_by_kind").size(), 7U);
  // Without a gauge nothing stands that is of a step taken again.
  fs::remove_all(fs::path(run.out) / "adapter");
  run.gauge.covariance.clear();
  run.gauge.every = 0;
  train(run, true, reporter_);
  EXPECT_FALSE(fs::exists(fs::path(run.out) / "forgetting.json"));
}

TEST_F(GaugeOfARun, ComesWithEvaluationsOrAtItsOwnStepsAndChangesNothing) {
  TrainSettings with = settings("with");
  with.data.eval = {{.path = folder_.path() / "task.jsonl", .count = 3}};
  with.eval.every = 2;
  train(with, false, reporter_);
  double before = 0;
  for (const core::Json& step : metrics_of(with)) {
    EXPECT_EQ(step.contains("forgetting"), step["step"].get<int>() % 2 == 0);
    if (!step.contains("forgetting")) continue;
    EXPECT_GT(step["forgetting"].get<double>(), before);
    before = step["forgetting"].get<double>();
  }
  TrainSettings own = with;
  own.out = (folder_.path() / "own").string();
  own.gauge.every = 3;
  train(own, false, reporter_);
  for (const core::Json& step : metrics_of(own))
    EXPECT_EQ(step.contains("forgetting"), step["step"].get<int>() % 3 == 0);
  TrainSettings without = with;
  without.out = (folder_.path() / "without").string();
  without.gauge.covariance.clear();
  train(without, false, reporter_);
  EXPECT_EQ(adapter_of(with), adapter_of(without));
  EXPECT_EQ(adapter_of(own), adapter_of(without));
}

// Nothing but the decay moves this B, so each column shrinks by the size of its input.
TEST_F(GaugeOfARun, SharesOutTheDecayByTheKnowledgeInEachColumn) {
  TrainSettings run = settings("run");
  run.train_a = "false";
  train(run, false, reporter_);
  TrainSettings on = settings("on");
  on.adapter = run.out + "/adapter";
  on.lora.rank = 0;
  on.train_a = "false";
  on.optim.lr = 1e-9;  // what is learnt is nothing
  on.optim.warmup_ratio = 0;
  on.optim.decay_total = 0.01;
  on.optim.decay_metric = "knowledge";
  train(on, false, reporter_);
  const adapter::Adapter before = adapter::read_adapter(on.adapter);
  const adapter::Adapter after = adapter::read_adapter(fs::path(on.out) / "adapter");
  adapter::KnowledgeInputs inputs(on.gauge.covariance, "", {});
  ASSERT_EQ(after.layers.size(), 14U);
  for (const auto& [name, layer] : after.layers) {
    const at::Tensor& old = before.layers.at(name).b;
    const at::Tensor sizes =
        adapter::input_energy(layer.a, inputs.of(name, layer.a.size(1))).of_a.diagonal();
    const at::Tensor expected = at::exp(-0.01 * sizes / sizes.mean());
    const at::Tensor kept = (layer.b * old).sum(0) / old.square().sum(0);
    EXPECT_LT((kept - expected).abs().max().item<double>(), 2e-4)
        << name;  // of six steps, not of many
    EXPECT_GT((expected.max() - expected.min()).item<double>(), 1e-3) << name;
  }
  on.out = (folder_.path() / "trained-a").string();
  on.train_a = "true";
  EXPECT_EQ(
      error_of<core::ConfigError>([&] { train(on, false, reporter_); }),
      "'optim.decay_metric: knowledge' is for an A that is not trained (mode dual, or train_a: "
      "false); this run trains it");
  EXPECT_THAT(error_of<core::ConfigError>([&] { plan(on, false, reporter_); }),
              HasSubstr("this run trains it"));
  on.gauge.covariance.clear();
  EXPECT_THAT(error_of<core::ConfigError>([&] { check(on); }),
              HasSubstr("'optim.decay_metric: knowledge' needs 'gauge.covariance', and "));
}

TEST_F(GaugeOfARun, ACovarianceThatDoesNotKnowALayerIsRefusedBeforeAnythingIsTrained) {
  write_covariance("part", "model.layers.1.mlp.down_proj.input");
  TrainSettings run = settings("run");
  run.gauge.covariance = (folder_.path() / "part").string();
  const std::string refusal = "the covariance '" + run.gauge.covariance +
                              "' has no inputs of 'model.layers.1.mlp.down_proj'; corda calibrate "
                              "collects those of all layers of a model's blocks";
  EXPECT_EQ(error_of<core::ConfigError>([&] { plan(run, false, reporter_); }), refusal);
  EXPECT_EQ(error_of<core::ConfigError>([&] { train(run, false, reporter_); }), refusal);
  EXPECT_FALSE(fs::exists(fs::path(run.out) / "metrics.jsonl"));
  run.out = (folder_.path() / "some").string();
  run.lora.target_modules = {"q_proj"};
  train(run, false, reporter_);
  testing::write_tiny_model(folder_.path() / "other", {.vocab = 257, .seed = 2});
  run = settings("elsewhere");
  run.model = (folder_.path() / "other").string();
  EXPECT_THAT(error_of<core::ConfigError>([&] { plan(run, false, reporter_); }),
              HasSubstr("was collected on another model"));
}

}  // namespace
}  // namespace corda::train
