// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Gradients of corda beside those of PEFT: equal in fp32 for every activation, no worse rounded in
// bf16. Skipped where CORDA_PYTHON, set at configure time, is no Python with PEFT.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "corda/adapter/adapter.h"
#include "corda/io/tensor.h"
#include "corda/model/adapt.h"
#include "support/golden_batches.h"
#include "support/process.h"
#include "support/temporary_directory.h"
#include "train/gradient_pass.h"
#include "train/low_rank_pass.h"
#include "train/step.h"

namespace corda::train {
namespace {

namespace fs = std::filesystem;

const fs::path kGolden = fs::path(CORDA_SOURCE_DIR) / "tests/golden";
const fs::path kBase = kGolden / "models/llama3-gqa";
const fs::path kAdapter = kGolden / "train/adapter-lora";

// The base rounded to bf16, or held in `base`, computed in `compute`.
model::Model load(at::ScalarType compute, at::Device device, quant::Base base) {
  model::Model model = model::load_model(
      io::Checkpoint(kBase), model::read_model_config(kBase),
      {.device = device, .weights = at::kBFloat16, .compute = compute, .base = base});
  model::attach_trainable(model, adapter::read_adapter(kAdapter));
  return model;
}

std::vector<at::Tensor> gradients_of(GradientPass& pass, const std::vector<data::Sample>& samples) {
  for (const model::Linear* linear : pass.model().linear_layers()) {
    linear->low_rank->a.mutable_grad() = at::Tensor();
    linear->low_rank->b.mutable_grad() = at::Tensor();
  }
  accumulate_gradients(pass, testing::micro_batches(samples, 8192, true), 0);
  std::vector<at::Tensor> result;
  for (const model::Linear* linear : pass.model().linear_layers()) {
    result.push_back(linear->low_rank->a.grad().cpu().clone());
    result.push_back(linear->low_rank->b.grad().cpu().clone());
  }
  return result;
}

class PeftGradients : public ::testing::Test {
 protected:
  void SetUp() override {
    if (python_.empty() || testing::run_process({python_, "-c", "import peft"}).exit_code != 0)
      GTEST_SKIP() << "CORDA_PYTHON is no python with peft";
  }
  testing::ProcessResult run(const fs::path& base, const std::vector<std::string>& more) const {
    const auto script = fs::path(CORDA_SOURCE_DIR) / "tests/interop/peft_gradients.py";
    std::vector<std::string> command = {
        python_,     script.string(),   "--base",    base.string(),
        "--adapter", kAdapter.string(), "--batches", (kGolden / "train/batches.json").string()};
    command.insert(command.end(), more.begin(), more.end());
    return testing::run_process(command);
  }

  const std::string python_ = CORDA_PYTHON;
};

TEST_F(PeftGradients, EqualOursInFp32ForEveryActivation) {
  const testing::TemporaryDirectory directory;
  for (const char* activation : {"silu", "gelu", "gelu_new", "gelu_pytorch_tanh"}) {
    const fs::path base = directory.path() / activation;
    fs::copy(kBase, base);
    core::Json config = core::read_json(base / "config.json");
    config["hidden_act"] = activation;
    core::write_json(base / "config.json", config);
    const fs::path out = directory.path() / "gradients.safetensors";
    const auto peft = run(base, {"--out", out.string()});
    ASSERT_EQ(peft.exit_code, 0) << peft.err;
    const double loss = core::Json::parse(peft.out).at("loss").get<double>();
    const io::SafetensorsFile theirs(out);

    for (const bool fused : {false, true}) {
      model::Model model =
          model::load_model(io::Checkpoint(base), model::read_model_config(base), {});
      model::attach_trainable(model, adapter::read_adapter(kAdapter));
      const auto pass = fused ? make_low_rank_pass(model, {}) : make_autograd_pass(model);
      const auto result = accumulate_gradients(
          *pass, testing::micro_batches(testing::golden_batches()[0], 8192, true), 0);
      EXPECT_NEAR(result.loss(), loss, 1e-5 * loss) << activation;
      std::size_t compared = 0;
      for (const model::Linear* linear : model.linear_layers()) {
        for (const auto& [name, factor] : {std::pair{".lora_A", linear->low_rank->a},
                                           std::pair{".lora_B", linear->low_rank->b}}) {
          const at::Tensor expected = io::view_tensor(theirs, linear->name + name);
          EXPECT_LT((factor.grad() - expected).abs().max().item<double>(),
                    1e-4 * expected.abs().max().item<double>())
              << activation << " " << linear->name << name;
          ++compared;
        }
      }
      EXPECT_EQ(compared, theirs.tensors().size());
    }
  }
}

struct Bf16Case {
  const char* device;
  quant::Base base;
};

class PeftGradientsInBf16 : public PeftGradients, public ::testing::WithParamInterface<Bf16Case> {
 protected:
  void SetUp() override {
    if (std::string(GetParam().device) == "cuda" && at::getNumGPUs() == 0)
      GTEST_SKIP() << "this machine has no usable GPU";
    PeftGradients::SetUp();
  }
};

// Over NF4 fp32's are those on the dequantised copy, theirs over bitsandbytes' codes.
TEST_P(PeftGradientsInBf16, OursAreNoFurtherFromFp32ThanTheyAre) {
  const auto [device_name, base] = GetParam();
  std::vector<std::string> flags = {"--device", device_name};
  if (base == quant::Base::kNf4) flags.emplace_back("--nf4");
  const auto peft = run(kBase, flags);
  if (peft.exit_code == 77) GTEST_SKIP() << peft.err;
  ASSERT_EQ(peft.exit_code, 0) << peft.err;
  const core::Json theirs = core::Json::parse(peft.out);

  const at::Device device(device_name);
  model::Model exact = load(at::kFloat, device, base);
  model::Model rounded = load(at::kBFloat16, device, base);
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

INSTANTIATE_TEST_SUITE_P(Devices, PeftGradientsInBf16,
                         ::testing::Values(Bf16Case{"cpu", quant::Base::kDense},
                                           Bf16Case{"cuda", quant::Base::kDense},
                                           Bf16Case{"cpu", quant::Base::kNf4},
                                           Bf16Case{"cuda", quant::Base::kNf4}),
                         [](const auto& tested) {
                           return std::string(tested.param.device) +
                                  (tested.param.base == quant::Base::kNf4 ? "OverNf4" : "");
                         });

}  // namespace
}  // namespace corda::train
