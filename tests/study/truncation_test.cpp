// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/study/truncation.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/data/load.h"
#include "corda/model/attention.h"
#include "corda/model/forward.h"
#include "corda/model/sites.h"
#include "corda/tokenizer/tokenizer.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::study {
namespace {

namespace fs = std::filesystem;
using corda::testing::error_of;
using ::testing::HasSubstr;

constexpr std::int64_t kWindow = 60;  // bytes, which are tokens

class Truncation : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string text = "A window of calibration is drawn at random, but of one there is one only";
    text.resize(kWindow);
    std::ofstream(at("calibration.txt")) << text;
    text = "Nothing of this was seen before, and all of it is a target but the first.!";
    text.resize(kWindow);
    std::ofstream(at("test.txt")) << text;
  }
  fs::path at(const std::string& name) const { return folder_.path() / name; }

  TruncationSettings settings(const std::string& method) const {
    TruncationSettings result;
    result.model = at("base").string();
    result.calibrations = core::parse_yaml("{c: {data: '" + at("calibration.txt").string() +
                                               "', samples: 1, seq_len: 60, "
                                               "activation_scaling: none}}",
                                           "t");
    result.tests =
        core::parse_yaml("{t: {data: '" + at("test.txt").string() + "', seq_len: 60}}", "t");
    result.methods = {method};
    result.ranks = {0, 5, 11};
    result.device = "cpu";
    result.threads = 1;
    return result;
  }

  static model::Batch batch_of(const model::Model& model, const std::string& text) {
    std::vector<std::int32_t> ids;
    std::vector<std::int32_t> positions;
    std::vector<std::int64_t> rows;
    std::vector<std::int64_t> targets;
    for (std::size_t i = 0; i < text.size(); ++i) {
      ids.push_back(static_cast<unsigned char>(text[i]) + 1);
      positions.push_back(static_cast<std::int32_t>(i));
      if (i > 0) {
        rows.push_back(static_cast<std::int64_t>(i) - 1);
        targets.push_back(ids.back());
      }
    }
    const std::vector<std::int32_t> offsets = {0, static_cast<std::int32_t>(text.size())};
    return model::make_batch(ids, positions, offsets, model.config.vocab_size, at::kCPU, rows,
                             targets);
  }

  std::string text_of(const std::string& file) const {
    std::ifstream stream(at(file));
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  // The inputs [tokens, in] of every layer on the calibration text, fp64.
  std::map<std::string, at::Tensor> inputs(const model::Model& model) const {
    std::map<std::string, at::Tensor> by_layer;
    const model::Batch batch = batch_of(model, text_of("calibration.txt"));
    model::PackedAttention attention(batch);
    const at::Tensor hidden = model::forward_hidden(
        model, batch, attention, [&](const std::string& name, const at::Tensor& input) {
          for (const model::Site& site : model::sites_of(model.config)) {
            if (site.name != name) continue;
            for (const auto& module : site.modules) by_layer[module] = input.to(at::kDouble);
          }
        });
    by_layer["lm_head"] = hidden.to(at::kDouble);
    return by_layer;
  }

  // U_k S_k V_k^T S^-1 with all but the `dropped` smallest components, by LibTorch's own SVD.
  static at::Tensor rebuilt(const at::Tensor& weight, const at::Tensor& scale,
                            std::int64_t dropped) {
    const at::Tensor w = weight.to(at::kDouble);
    const auto [u, s, vh] = at::linalg_svd(w.mm(scale), /*full_matrices=*/false);
    const std::int64_t kept = s.size(0) - dropped;
    return (u.narrow(1, 0, kept) * s.narrow(0, 0, kept))
        .mm(vh.narrow(0, 0, kept))
        .mm(at::linalg_inv(scale))
        .to(weight.scalar_type());
  }

  static at::Tensor scale_of(const std::string& method, const at::Tensor& x) {
    if (method == "svd") return at::eye(x.size(1), at::kDouble);
    if (method == "asvd") return at::diag(x.abs().mean(0).sqrt() + 1e-6);
    const at::Tensor c = x.t().mm(x);
    return c + 0.01 * c.diagonal().mean() * at::eye(x.size(1), at::kDouble);
  }

  double expected_nll(const std::string& method, std::int64_t dropped, bool tied) const {
    const at::NoGradGuard no_grad;
    model::Model model = corda::testing::load_tiny_model(at("again"), {.vocab = 257, .tied = tied});
    const auto x = inputs(model);
    const at::Tensor head = model.head_weight();
    for (model::Linear* linear : model.linear_layers())
      linear->weight = rebuilt(linear->weight, scale_of(method, x.at(linear->name)), dropped);
    model.config.tied = false;
    model.head.weight = rebuilt(head, scale_of(method, x.at("lm_head")), dropped);
    const model::Batch batch = batch_of(model, text_of("test.txt"));
    return model::loss_sum(model, batch).item<double>() / (kWindow - 1);
  }

  void expect_rows_of_rebuilt_models(bool tied) const {
    corda::testing::write_tiny_model(at("base"), {.vocab = 257, .tied = tied});
    core::Reporter silent;
    for (const char* method : {"svd", "asvd", "co-svd"}) {
      const auto rows = truncation(settings(method), silent);
      ASSERT_EQ(rows.size(), 3U) << method;
      EXPECT_EQ(rows[0].method, "-");
      for (std::size_t i = 0; i < rows.size(); ++i) {
        const std::int64_t dropped = std::vector<std::int64_t>{0, 5, 11}[i];
        EXPECT_EQ(rows[i].dropped, dropped);
        // Weights are fp32, and the inverse of S in the rebuilt ones loses a few digits.
        EXPECT_NEAR(rows[i].nll, expected_nll(method, dropped, tied), 2e-4)
            << method << " " << dropped << (tied ? ", tied" : "");
      }
      EXPECT_GT(std::abs(rows[2].nll - rows[0].nll), 0.01) << method;
    }
  }

  corda::testing::TemporaryDirectory folder_;
};

TEST_F(Truncation, RowsAreThoseOfModelsRebuiltFromTheComponentsThatAreLeft) {
  expect_rows_of_rebuilt_models(/*tied=*/false);
}

TEST_F(Truncation, ATiedHeadIsTruncatedAndTheEmbeddingIsNot) {
  expect_rows_of_rebuilt_models(/*tied=*/true);
}

TEST_F(Truncation, WithoutTheHeadAndOtherLayersTheyStayAsTheyAre) {
  corda::testing::write_tiny_model(at("base"), {.vocab = 257});
  TruncationSettings one = settings("svd");
  one.head = false;
  one.target_modules = {"model.layers.1.mlp.up_proj"};
  core::Reporter silent;
  const auto rows = truncation(one, silent);
  const at::NoGradGuard no_grad;
  model::Model model = corda::testing::load_tiny_model(at("again"), {.vocab = 257});
  for (model::Linear* linear : model.linear_layers()) {
    if (linear->name == one.target_modules[0])
      linear->weight = rebuilt(linear->weight, at::eye(32, at::kDouble), 11);
  }
  EXPECT_NEAR(
      rows[2].nll,
      model::loss_sum(model, batch_of(model, text_of("test.txt"))).item<double>() / (kWindow - 1),
      1e-5);
}

TEST_F(Truncation, EveryCalibrationAndTestHasItsRows) {
  corda::testing::write_tiny_model(at("base"), {.vocab = 257});
  TruncationSettings s = settings("svd");
  s.methods = {"svd", "co-svd"};
  s.ranks = {3};
  s.calibrations.entries.emplace_back("d", s.calibrations.entries[0].second);
  s.tests.entries.emplace_back("u", s.tests.entries[0].second);
  core::Reporter silent;
  const auto rows = truncation(s, silent);
  std::vector<std::string> names;
  for (const auto& row : rows) names.push_back(row.method + " " + row.calibration + " " + row.test);
  EXPECT_THAT(names, ::testing::ElementsAre("svd - t", "svd - u", "co-svd c t", "co-svd c u",
                                            "co-svd d t", "co-svd d u"));
  EXPECT_EQ(rows[2].nll, rows[4].nll);  // equal text
  EXPECT_EQ(to_jsonl(rows).substr(0, 61),
            R"({"method":"svd","calibration":"-","test":"t","dropped":3,"nll)");
}

TEST_F(Truncation, WhatCannotBeDoneIsSaidBeforeTheWork) {
  corda::testing::write_tiny_model(at("base"), {.vocab = 257});
  core::Reporter silent;
  TruncationSettings s = settings("svd");
  s.ranks = {17};
  EXPECT_EQ(error_of<core::ConfigError>([&] { truncation(s, silent); }),
            "'ranks' holds 17, and 'model.layers.0.self_attn.k_proj' has 16 components; leave that "
            "number or the layer out");
  s = settings("csvd");
  s.calibrations = {};
  s.tests = {};
  EXPECT_EQ(error_of<core::ConfigError>([&] { truncation(s, silent); }),
            "'methods' must be of svd, asvd, co-svd; one is 'csvd'\n'tests' names no data to "
            "measure on\n'calibrations' names no data, which asvd and co-svd need");
  s = settings("co-svd");
  s.calibrations = core::parse_yaml("{c: {data: x, center: true}}", "t");
  EXPECT_EQ(error_of<core::ConfigError>([&] { truncation(s, silent); }),
            "'calibrations.c': 'center' is for decompose --mode eva, not for a truncation");
  s.calibrations = core::parse_yaml("{c: {data: x, of: gradients}}", "t");
  EXPECT_EQ(error_of<core::ConfigError>([&] { truncation(s, silent); }),
            "'calibrations.c': 'of: gradients' is for decompose --mode dual, not for a truncation");
}

TEST(TruncationTable, TheShippedFilesAreUnderstood) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(CORDA_SOURCE_DIR) / "configs/studies")) {
    if (!entry.path().filename().string().starts_with("truncation")) continue;
    ++files;
    TruncationSettings settings;
    settings_of(settings).read(
        core::parse_yaml(core::read_file(entry.path()), entry.path().string()));
    EXPECT_EQ(settings.calibrations.entries.size(), 1U);
    EXPECT_EQ(settings.tests.entries.size(), 1U);
  }
  EXPECT_EQ(files, 2);
}

TEST(TruncationTable, HasALineANumberOfComponents) {
  EXPECT_EQ(to_text({{"-", "-", "t", 0, 1, 2.5},
                     {"svd", "-", "t", 8, 1, 90.25},
                     {"co-svd", "c", "t", 8, 1, 3},
                     {"co-svd", "c", "t", 16, 1, 4}}),
            "| dropped | svd | co-svd (c) |\n|---:|---:|---:|\n| 0 | 2.5 | 2.5 |\n"
            "| 8 | 90.25 | 3 |\n| 16 | - | 4 |\n");
}

}  // namespace
}  // namespace corda::study
