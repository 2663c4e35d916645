// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The rounding of corda's gradients in bf16 beside that of PEFT's. Skipped where CORDA_PYTHON, set
// at configure time, is no Python with PEFT.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "corda/adapter/adapter.h"
#include "corda/model/adapt.h"
#include "support/golden_batches.h"
#include "support/process.h"
#include "train/step.h"

namespace corda::train {
namespace {

namespace fs = std::filesystem;

const fs::path kGolden = fs::path(CORDA_SOURCE_DIR) / "tests/golden";
const fs::path kBase = kGolden / "models/llama3-gqa";
const fs::path kAdapter = kGolden / "train/adapter-lora";

// The base rounded to bf16, computed in `compute`.
model::Model load(at::ScalarType compute) {
  model::Model model =
      model::load_model(io::Checkpoint(kBase), model::read_model_config(kBase),
                        {.device = at::kCPU, .weights = at::kBFloat16, .compute = compute});
  model::attach_trainable(model, adapter::read_adapter(kAdapter));
  return model;
}

std::vector<at::Tensor> gradients_of(GradientPass& pass, const std::vector<data::Sample>& samples) {
  for (const model::Linear* linear : pass.model().projections()) {
    linear->low_rank->a.mutable_grad() = at::Tensor();
    linear->low_rank->b.mutable_grad() = at::Tensor();
  }
  accumulate_gradients(pass, testing::micro_batches(samples, 8192, true), 0);
  std::vector<at::Tensor> result;
  for (const model::Linear* linear : pass.model().projections()) {
    result.push_back(linear->low_rank->a.grad().clone());
    result.push_back(linear->low_rank->b.grad().clone());
  }
  return result;
}

TEST(Bf16Gradients, AreNoFurtherFromFp32ThanPeftsAre) {
  const std::string python = CORDA_PYTHON;
  if (python.empty() || testing::run_process({python, "-c", "import peft"}).exit_code != 0)
    GTEST_SKIP() << "CORDA_PYTHON is no python with peft";
  const auto script = fs::path(CORDA_SOURCE_DIR) / "tests/interop/peft_bf16_gradients.py";
  const auto peft = testing::run_process({python, script.string(), "--base", kBase.string(),
                                          "--adapter", kAdapter.string(), "--batches",
                                          (kGolden / "train/batches.json").string()});
  ASSERT_EQ(peft.exit_code, 0) << peft.err;
  const core::Json theirs = core::Json::parse(peft.out);

  model::Model exact = load(at::kFloat);
  model::Model rounded = load(at::kBFloat16);
  ASSERT_TRUE(supports_low_rank_pass(rounded));
  const auto truth_pass = make_autograd_pass(exact);
  const auto pass = make_low_rank_pass(rounded, {});
  std::vector<double> errors;
  for (const auto& batch : testing::golden_batches()) {
    const auto truth = gradients_of(*truth_pass, batch);
    const auto found = gradients_of(*pass, batch);
    for (std::size_t i = 0; i < truth.size(); ++i)
      errors.push_back(((found[i] - truth[i]).norm() / truth[i].norm()).item<double>());
  }
  ASSERT_EQ(errors.size(), theirs.at("gradients").get<std::size_t>());
  double sum = 0;
  for (const double error : errors) sum += error;
  const double mean = sum / static_cast<double>(errors.size());
  const double largest = *std::max_element(errors.begin(), errors.end());
  std::printf(
      "relative error of bf16 gradients, mean and largest: corda %.5f %.5f, PEFT %.5f %.5f\n", mean,
      largest, theirs.at("mean").get<double>(), theirs.at("largest").get<double>());
  EXPECT_LE(mean, theirs.at("mean").get<double>());
  EXPECT_LE(largest, 1.1 * theirs.at("largest").get<double>());
}

}  // namespace
}  // namespace corda::train
