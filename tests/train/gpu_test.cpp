// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The fused gradient pass on a GPU against autograd there and in fp32.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "corda/adapter/initialise.h"
#include "corda/model/adapt.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"
#include "train/gradient_pass.h"

namespace corda::train {
namespace {

enum class Lengths { kEqual, kMixed };  // cuDNN's attention, flash attention

struct Case {
  const char* name;
  Lengths lengths;
  std::int64_t rank;
  bool train_a;
};

constexpr testing::TinyModelOptions kShape{.vocab = 512,
                                           .hidden = 256,
                                           .intermediate = 704,
                                           .layers = 7,
                                           .heads = 4,
                                           .kv_heads = 2,
                                           .dtype = at::kBFloat16};

model::Model load(const std::filesystem::path& directory, at::ScalarType type, const Case& c) {
  model::Model model =
      model::load_model(io::Checkpoint(directory), model::read_model_config(directory),
                        {.device = at::kCUDA, .weights = type, .compute = type});
  adapter::Adapter adapter;
  adapter.rank = c.rank;
  adapter.alpha = 2.0 * static_cast<double>(c.rank);
  adapter.train_a = c.train_a;
  at::manual_seed(3);
  for (const model::Linear* linear : model.projections()) {
    // One projection without an adapter: its site must cope.
    if (linear->name.ends_with("1.self_attn.k_proj")) continue;
    auto layer = adapter::initialise_lora(linear->weight.size(0), linear->weight.size(1), c.rank, 1,
                                          linear->name);
    layer.b = at::randn_like(layer.b) * 0.02;
    adapter.layers[linear->name] = std::move(layer);
  }
  model::attach_trainable(model, adapter);
  return model;
}

model::Batch batch_of(const Case& c, at::Device device) {
  std::vector<std::int32_t> ids, positions, offsets = {0};
  std::vector<std::int64_t> rows, targets;
  const std::vector<int> lengths = c.lengths == Lengths::kEqual ? std::vector<int>{256, 256, 256}
                                                                : std::vector<int>{1, 130, 77, 300};
  for (const int length : lengths) {
    for (int t = 0; t < length; ++t) {
      ids.push_back(static_cast<std::int32_t>((ids.size() * 7919 + 13) % 512));
      positions.push_back(t);
      if (t > 0 && t % 3 != 0) {
        rows.push_back(static_cast<std::int64_t>(ids.size()) - 2);
        targets.push_back(ids.back());
      }
    }
    offsets.push_back(static_cast<std::int32_t>(ids.size()));
  }
  return model::make_batch(ids, positions, offsets, 512, device, rows, targets);
}

struct Gradients {
  double loss = 0;
  std::vector<std::pair<std::string, at::Tensor>> tensors;
};

// Two micro-batches, so that accumulation is part of it.
Gradients gradients_of(model::Model& model, GradientPass& pass, const model::Batch& batch) {
  Gradients result;
  pass.begin_step();
  for (int i = 0; i < 2; ++i)
    result.loss +=
        pass.run(batch, 1.0 / static_cast<double>(batch.target_ids.size(0))).item<double>();
  for (const model::Linear* linear : model.projections()) {
    if (!linear->low_rank) continue;
    for (const auto& [name, tensor] :
         {std::pair{".A", linear->low_rank->a}, std::pair{".B", linear->low_rank->b}}) {
      if (tensor.requires_grad())
        result.tensors.emplace_back(linear->name + name, tensor.grad().clone());
    }
  }
  return result;
}

// || a - b || / || b || of each tensor.
std::vector<double> relative_errors(const Gradients& a, const Gradients& b) {
  std::vector<double> errors;
  EXPECT_EQ(a.tensors.size(), b.tensors.size());
  for (std::size_t i = 0; i < a.tensors.size(); ++i) {
    const at::Tensor& expected = b.tensors[i].second;
    errors.push_back(((a.tensors[i].second - expected).norm() / expected.norm()).item<double>());
  }
  return errors;
}

double largest(const std::vector<double>& values) {
  return *std::max_element(values.begin(), values.end());
}
double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

class GpuPass : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (at::getNumGPUs() == 0) GTEST_SKIP() << "this machine has no usable GPU";
    testing::write_tiny_model(directory_.path() / "model", kShape);
    batch_ = batch_of(GetParam(), at::kCUDA);
  }
  model::Model load(at::ScalarType type) {
    return train::load(directory_.path() / "model", type, GetParam());
  }
  Gradients autograd(at::ScalarType type) {
    model::Model model = load(type);
    return gradients_of(model, *make_autograd_pass(model), batch_);
  }
  Gradients fused(at::ScalarType type, const LowRankPassOptions& options) {
    model::Model model = load(type);
    return gradients_of(model, *make_low_rank_pass(model, options), batch_);
  }

  testing::TemporaryDirectory directory_;
  model::Batch batch_;
};

TEST_P(GpuPass, FusedInFp32MatchesAutograd) {
  const Gradients expected = autograd(at::kFloat);
  const Gradients actual = fused(at::kFloat, {});
  EXPECT_NEAR(actual.loss, expected.loss, 1e-5 * expected.loss);
  EXPECT_LT(largest(relative_errors(actual, expected)), 1e-4);
}

// Rounding differs, the size of the error must not.
TEST_P(GpuPass, FusedInBf16IsNoFurtherFromFp32ThanAutogradInBf16) {
  const Gradients truth = autograd(at::kFloat);
  const std::vector<double> plain = relative_errors(autograd(at::kBFloat16), truth);
  const Gradients actual = fused(at::kBFloat16, {});
  const std::vector<double> ours = relative_errors(actual, truth);
  EXPECT_NEAR(actual.loss, truth.loss, 2e-3 * truth.loss);
  EXPECT_LE(mean(ours), 1.05 * mean(plain));
  EXPECT_LE(largest(ours), 1.25 * largest(plain));
  RecordProperty("mean_error_fused", std::to_string(mean(ours)));
  RecordProperty("mean_error_autograd", std::to_string(mean(plain)));
  std::printf(
      "bf16 error against fp32, mean and largest over tensors: fused %.5f %.5f, autograd %.5f "
      "%.5f\n",
      mean(ours), largest(ours), mean(plain), largest(plain));
}

// The same kernels on the same inputs; attention's backward adds in no fixed order.
TEST_P(GpuPass, RecomputingAndOffloadingChangeNothing) {
  const Gradients kept = fused(at::kBFloat16, {});
  for (const LowRankPassOptions& options :
       {LowRankPassOptions{Recompute::kSelective, false},
        LowRankPassOptions{Recompute::kBlock, false}, LowRankPassOptions{Recompute::kNone, true},
        LowRankPassOptions{Recompute::kBlock, true}}) {
    const Gradients again = fused(at::kBFloat16, options);
    EXPECT_EQ(again.loss, kept.loss);
    EXPECT_LT(largest(relative_errors(again, kept)), 3e-3);
  }
}

INSTANTIATE_TEST_SUITE_P(Batches, GpuPass,
                         ::testing::Values(Case{"EqualLengths", Lengths::kEqual, 16, true},
                                           Case{"MixedLengths", Lengths::kMixed, 16, true},
                                           Case{"OddRank", Lengths::kMixed, 5, true},
                                           Case{"FrozenA", Lengths::kEqual, 16, false}),
                         [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace corda::train
