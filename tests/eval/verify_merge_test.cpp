// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/eval/verify_merge.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "corda/adapter/initialise.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/eval/eval.h"
#include "corda/eval/scale_curve.h"
#include "corda/io/tensor.h"
#include "corda/merge/merge.h"
#include "core/json.h"
#include "support/captured_log.h"
#include "support/error_of.h"
#include "support/random_tensor.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::eval {
namespace {

namespace fs = std::filesystem;
using ::corda::testing::random_tensor;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kQ = "model.layers.0.self_attn.q_proj";
const std::string kDown = "model.layers.1.mlp.down_proj";

// A base, an adapter as a run leaves it, with the run's settings beside it, and what they merge to.
class VerifyMerge : public ::testing::Test {
 protected:
  VerifyMerge() {
    testing::write_tiny_model(at("base"), {.vocab = 300});
    write_adapter({kQ, kDown});
    core::write_file_atomic(at("data.jsonl"),
                            "{\"prompt\": \"ab\", \"completion\": \"cde\"}\n"
                            "{\"prompt\": \"a\", \"completion\": \"fg\"}\n");
    write_run(at("data.jsonl"));
  }

  std::string at(const std::string& name) const { return (scratch_.path() / name).string(); }

  void write_adapter(const std::vector<std::string>& modules, bool dora = false) {
    adapter::Adapter adapter;
    if (dora) adapter.method = "dora";
    adapter.rank = 2;
    adapter.alpha = 4;
    const io::Checkpoint base(at("base"));
    for (const auto& module : modules) {
      const auto shape = base.info(module + ".weight").shape;
      auto& layer = adapter.layers[module];
      layer = adapter::initialise_lora(shape[0], shape[1], module == kDown ? 3 : 2, 1, module);
      layer.b = 0.3 * random_tensor(layer.b.sizes().vec(), 7);
      if (module == kDown) layer.alpha = 9;
      if (dora)
        layer.magnitude = 1.3 * adapter::dora_magnitude(io::view_tensor(base, module + ".weight"));
    }
    fs::create_directories(at("run/adapter"));
    adapter::write_adapter(at("run/adapter"), adapter);
  }

  void write_run(const std::string& data) const {
    core::write_file_atomic(at("run/config.resolved.yaml"),
                            "data:\n  train:\n    - path: " + data +
                                "\n      format: prompt-completion\n  eval: []\n"
                                "  template: plain\n  max_length: 64\n");
  }

  void merge(const std::string& dtype = "fp32", double scale = 1) {
    fs::remove_all(at("merged"));
    merge::merge({.model = at("base"),
                  .adapter = at("run/adapter"),
                  .out = at("merged"),
                  .dtype = dtype,
                  .scale = {scale},
                  .max_shard_size = ""},
                 log_);
  }

  // The settings of a curve over the run's data and over others.
  VerifySettings curve_settings() const {
    core::write_file_atomic(at("other.jsonl"), "{\"prompt\": \"x\", \"completion\": \"yz\"}\n");
    VerifySettings s = settings();
    s.data = {at("data.jsonl"), at("other.jsonl")};
    s.template_name = "plain";
    return s;
  }

  VerifySettings settings() const {
    return {.model = at("base"),
            .adapter = at("run/adapter"),
            .merged = at("merged"),
            .data = {},
            .columns = "",
            .system = "",
            .date = "",
            .device = "cpu"};
  }

  // nll of `corda eval` on the run's data.
  double nll(const std::string& model, const std::string& adapter) {
    return evaluate({.model = model,
                     .adapter = adapter,
                     .data = {at("data.jsonl")},
                     .format = "prompt-completion",
                     .columns = "",
                     .template_name = "plain",
                     .system = "",
                     .date = "",
                     .device = "cpu"},
                    log_)
        .nll;
  }

  // Replaces the merged weight of kDown.
  void spoil(const std::function<at::Tensor(const at::Tensor&)>& change) const {
    const fs::path path = fs::path(at("merged")) / "model.safetensors";
    std::vector<std::pair<std::string, at::Tensor>> tensors;
    {
      const io::SafetensorsFile file(path);
      for (const auto& [name, info] : file.tensors()) {
        const at::Tensor value = io::view_tensor(file, name).clone();
        tensors.emplace_back(name, name == kDown + ".weight" ? change(value) : value);
      }
    }
    io::save_tensors(path, tensors, {{"format", "pt"}});
  }

  // The base's tokenizer.json with an added token.
  std::string with_another_token(const std::string& content, std::int64_t id) const {
    core::Json json = core::Json::parse(core::read_file(at("base/tokenizer.json")));
    core::Json token = json["added_tokens"][0];
    token["id"] = id;
    token["content"] = content;
    token["special"] = false;  // else it is only text in data
    json["added_tokens"].push_back(token);
    return json.dump();
  }

  testing::TemporaryDirectory scratch_;
  CapturedLog log_;
};

TEST_F(VerifyMerge, ComparesOnTheDataOfTheRunAndGivesTheLossesOfEval) {
  merge();
  const VerifyResult result = verify_merge(settings(), log_);
  EXPECT_EQ(result.data, "2 samples of '" + at("data.jsonl") + "'");
  EXPECT_EQ(result.targets, 7);  // c d e EOS, f g EOS
  EXPECT_EQ(result.tokens, 12);  // and BOS a b, BOS a
  EXPECT_EQ(result.same_argmax, 7);
  EXPECT_TRUE(result.agrees());
  EXPECT_LT(result.relative_difference, 1e-5);  // fp32 sums in another order
  EXPECT_NEAR(result.loss_before, nll(at("base"), at("run/adapter")), 1e-5);
  EXPECT_NEAR(result.loss_after, nll(at("merged"), ""), 1e-5);
  EXPECT_GT(std::abs(result.loss_before - nll(at("base"), "")), 1e-3) << "an adapter of no effect";
  EXPECT_THAT(log_.text, Not(HasSubstr("warning")));
}

TEST_F(VerifyMerge, DataThatAreGivenGoBeforeThoseOfTheRun) {
  merge();
  core::write_file_atomic(at("other.jsonl"), "{\"prompt\": \"x\", \"completion\": \"y\"}\n");
  VerifySettings s = settings();
  s.data = {at("other.jsonl")};
  s.template_name = "plain";
  const VerifyResult result = verify_merge(s, log_);
  EXPECT_EQ(result.data, "1 samples of '" + at("other.jsonl") + "'");
  EXPECT_EQ(result.targets, 2);
  s.data = {at("nowhere.jsonl")};
  EXPECT_THAT(testing::error_of<core::IoError>([&] { verify_merge(s, log_); }),
              HasSubstr("nowhere.jsonl"));
}

TEST_F(VerifyMerge, DataThatDoNotFitTheModelAreRefusedWithTheirRecord) {
  testing::write_tiny_model(at("base"), {.vocab = 257});
  write_adapter({kQ, kDown});
  merge();
  core::write_file_atomic(at("base/tokenizer.json"), with_another_token("<|far|>", 257));
  core::write_file_atomic(at("other.jsonl"),
                          "{\"prompt\": \"x\", \"completion\": \"y\"}\n"
                          "{\"prompt\": \"x\", \"completion\": \"<|far|>\"}\n");
  VerifySettings s = settings();
  s.data = {at("other.jsonl")};
  s.template_name = "plain";
  const std::string said =
      at("other.jsonl") + ":2:1: token id 257 ('<|far|>') is beyond the model's vocabulary of 257";
  EXPECT_THAT(testing::error_of<core::ConfigError>([&] { verify_merge(s, log_); }),
              HasSubstr(said));
  EXPECT_THAT(testing::error_of<core::ConfigError>([&] { scale_curve(s, {1}, log_); }),
              HasSubstr(said));
}

TEST_F(VerifyMerge, WithoutDataRandomTokensAreComparedAndThatIsSaid) {
  merge();
  write_run(at("moved.jsonl"));
  EXPECT_EQ(verify_merge(settings(), log_).data, "4 sequences of random tokens");
  EXPECT_THAT(log_.text,
              HasSubstr("warning: --verify: the data of the adapter's run cannot be read "
                        "any more, so random tokens are compared; give --data. The "
                        "reason: "));
  EXPECT_THAT(log_.text, HasSubstr("moved.jsonl"));
  fs::remove(at("run/config.resolved.yaml"));
  log_.text.clear();
  EXPECT_EQ(verify_merge(settings(), log_).targets, 4 * 47);
  EXPECT_THAT(log_.text, HasSubstr("info: --verify: no run stands beside the adapter"));
}

TEST_F(VerifyMerge, AWrongWeightFails) {
  merge();
  spoil([](const at::Tensor& w) { return w * 1.02; });
  EXPECT_THAT(testing::error_of<core::NumericalError>([&] { verify_merge(settings(), log_); }),
              HasSubstr("--verify: the merged model's logits differ from base + adapter by"));
  spoil([](const at::Tensor& w) {
    at::Tensor nan = w.clone();
    nan[0][0] = std::numeric_limits<float>::quiet_NaN();
    return nan;
  });
  EXPECT_THAT(testing::error_of<core::NumericalError>([&] { verify_merge(settings(), log_); }),
              HasSubstr("nan of the largest"));
  merge("bf16");
  spoil([](const at::Tensor& w) { return w * 2.0; });
  EXPECT_THAT(testing::error_of<core::NumericalError>([&] { verify_merge(settings(), log_); }),
              ::testing::AllOf(HasSubstr("; another token is the most likely at "),
                               HasSubstr(", and the loss is "),
                               HasSubstr("not kept; --dtype fp32 keeps what rounding loses")));
}

TEST_F(VerifyMerge, TokensThatRoundingChangesAreCountedAndTheWayOutIsNamed) {
  merge("bf16");
  fs::remove(at("run/config.resolved.yaml"));
  const VerifyResult result = verify_merge(settings(), log_);
  EXPECT_LT(result.same_argmax, result.targets);
  EXPECT_GT(result.same_argmax, result.targets * 9 / 10);
  EXPECT_NE(result.loss_after, result.loss_before);
  EXPECT_NEAR(result.loss_after, result.loss_before, 0.05);
  EXPECT_THAT(log_.text,
              HasSubstr("warning: --verify: rounding the merged weights changed the most likely "
                        "token at " +
                        std::to_string(result.targets - result.same_argmax) +
                        " of 188 places; --dtype fp32 keeps them"));
}

TEST_F(VerifyMerge, AnAdapterOfTheHeadIsSeen) {
  write_adapter({kQ, "lm_head"});
  merge();
  const VerifyResult result = verify_merge(settings(), log_);
  EXPECT_TRUE(result.agrees());
  EXPECT_LT(result.relative_difference, 1e-5);
  EXPECT_NEAR(result.loss_before, nll(at("base"), at("run/adapter")), 1e-5);
  // Without the head's part it fails: the base's own head in the merged model.
  fs::remove_all(at("merged"));
  write_adapter({kQ});
  merge();
  write_adapter({kQ, "lm_head"});
  EXPECT_THAT(testing::error_of<core::NumericalError>([&] { verify_merge(settings(), log_); }),
              HasSubstr("logits differ"));
}

// The curve's losses are those that eval gives for the models that would be written.
TEST_F(VerifyMerge, ACurveIsOfTheModelsThatMergingAtEachScaleWrites) {
  for (const bool dora : {false, true}) {
    write_adapter({kQ, kDown, "lm_head"}, dora);
    const ScaleCurve curve = scale_curve(curve_settings(), {0, 0.5, 1, 2}, log_);
    EXPECT_EQ(curve.files, (std::vector<std::string>{at("data.jsonl"), at("other.jsonl")}));
    EXPECT_EQ(curve.targets, (std::vector<std::int64_t>{7, 3}));
    ASSERT_EQ(curve.points.size(), 4U);
    for (const ScalePoint& point : curve.points) {
      merge("auto", point.scale);
      EXPECT_NEAR(point.losses[0], nll(at("merged"), ""), 1e-5) << point.scale;
    }
    EXPECT_NEAR(curve.points[0].losses[0], nll(at("base"), ""), 1e-5);
    EXPECT_GT(std::abs(curve.points[1].losses[0] - curve.points[2].losses[0]), 1e-3);
    EXPECT_GT(std::abs(curve.points[0].losses[1] - curve.points[2].losses[1]), 1e-3);
  }
  VerifySettings one = curve_settings();
  one.samples = 1;
  EXPECT_EQ(scale_curve(one, {1}, log_).targets, (std::vector<std::int64_t>{4, 3}));
}

TEST_F(VerifyMerge, AScaledMergeIsVerifiedAgainstTheScaledAdapter) {
  for (const bool dora : {false, true}) {
    write_adapter({kQ, kDown}, dora);
    merge("fp32", 0.5);
    VerifySettings s = settings();
    s.strength = 0.5;
    EXPECT_LT(verify_merge(s, log_).relative_difference, 1e-5) << dora;
    s.strength = 1;
    EXPECT_THAT(testing::error_of<core::NumericalError>([&] { verify_merge(s, log_); }),
                HasSubstr("logits differ"));
  }
}

// The head runs over parts of the vocabulary; 20 000 tokens are three of them.
TEST_F(VerifyMerge, PartsOfTheVocabularyAddUpToTheWhole) {
  testing::write_tiny_model(at("base"), {.vocab = 20000});
  write_adapter({kQ, "lm_head"});
  merge();
  const VerifyResult result = verify_merge(settings(), log_);
  EXPECT_TRUE(result.agrees());
  EXPECT_LT(result.relative_difference, 1e-5);
  EXPECT_NEAR(result.loss_before, nll(at("base"), at("run/adapter")), 1e-5);
  EXPECT_NEAR(result.loss_after, nll(at("merged"), ""), 1e-5);
  fs::remove(at("run/config.resolved.yaml"));  // random tokens: targets in every part
  const VerifyResult random = verify_merge(settings(), log_);
  EXPECT_TRUE(random.agrees());
  EXPECT_NEAR(random.loss_before, random.loss_after, 1e-5);
  EXPECT_NEAR(random.loss_before, std::log(20000), 1);
}

}  // namespace
}  // namespace corda::eval
