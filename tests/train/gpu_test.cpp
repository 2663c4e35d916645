// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The fused gradient pass on a GPU against autograd there and in fp32.
#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "corda/adapter/initialise.h"
#include "corda/model/adapt.h"
#include "operations.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"
#include "train/gradient_pass.h"
#include "train/low_rank_pass.h"
#include "train/rehearsal.h"
#include "train/side_work.h"
#include "train/step.h"

namespace corda::train {
namespace {

enum class Lengths { kEqual, kMixed };  // cuDNN's attention, flash attention

struct Case {
  const char* name;
  Lengths lengths;
  std::int64_t rank;
  bool train_a;
  bool shared_a = false;  // layers with one input share A
  bool train_b = true;
};

constexpr testing::TinyModelOptions kShape{.vocab = 512,
                                           .hidden = 256,
                                           .intermediate = 704,
                                           .layers = 7,
                                           .heads = 4,
                                           .kv_heads = 2,
                                           .dtype = at::kBFloat16,
                                           .spread = 0.1};
// Errors of bf16 below this leave room to see a gradient that is wrong by a tenth.
constexpr double kBluntError = 0.1;

model::Model load(const std::filesystem::path& directory, at::ScalarType type, const Case& c) {
  model::Model model =
      model::load_model(io::Checkpoint(directory), model::read_model_config(directory),
                        {.device = at::kCUDA, .weights = type, .compute = type});
  adapter::Adapter adapter;
  adapter.rank = c.rank;
  adapter.alpha = 2.0 * static_cast<double>(c.rank);
  adapter.train_a = c.train_a;
  adapter.train_b = c.train_b;
  at::manual_seed(3);
  for (const model::Linear* linear : model.linear_layers()) {
    // One layer has no adapter: its site must cope with that.
    const std::string& name = linear->name;
    if (name.ends_with("1.self_attn.k_proj")) continue;
    // Later blocks of a larger rank than the first: shared memory must have room for both.
    const bool late = name.find("layers.4.") != std::string::npos;
    auto layer = adapter::initialise_lora(linear->weight.size(0), linear->weight.size(1),
                                          late ? 2 * c.rank : c.rank, 1,
                                          c.shared_a ? name.substr(0, name.rfind('.')) : name);
    layer.b = at::randn_like(layer.b) * 0.02;
    adapter.layers[name] = std::move(layer);
  }
  model::attach_trainable(model, adapter);
  return model;
}

// `seed` changes the tokens and nothing else.
data::PackedBatch batch_of(const std::vector<int>& lengths, int seed = 0) {
  data::PackedBatch batch;
  for (const int length : lengths) {
    data::Sample sample;
    for (int t = 0; t < length; ++t) {
      const std::int64_t row = batch.tokens() + t;
      sample.ids.push_back(static_cast<data::TokenId>((row * 7919 + 13 + 101 * seed) % 512));
      sample.supervised.push_back(t > 0 && t % 3 != 0);
    }
    data::append(batch, sample);
  }
  return batch;
}

std::vector<int> lengths_of(const Case& c) {
  return c.lengths == Lengths::kEqual ? std::vector<int>{256, 256, 256}
                                      : std::vector<int>{1, 130, 77, 300};
}

struct Gradients {
  double loss = 0;
  std::vector<std::pair<std::string, at::Tensor>> tensors;
};

Gradients gradients_of(const model::Model& model, GradientPass& pass,
                       const std::vector<data::PackedBatch>& batches) {
  const StepGradients found = accumulate_gradients(pass, batches, 0);
  Gradients result{.loss = found.loss(), .tensors = {}};
  for (const model::Linear* linear : model.linear_layers()) {
    if (!linear->low_rank) continue;
    for (const auto& [name, tensor] :
         {std::pair{".A", linear->low_rank->a}, std::pair{".B", linear->low_rank->b}}) {
      if (tensor.requires_grad())
        result.tensors.emplace_back(linear->name + name, tensor.grad().clone());
    }
  }
  return result;
}

using testing::largest;
using testing::mean;
std::vector<double> relative_errors(const Gradients& a, const Gradients& b) {
  return testing::relative_errors(a.tensors, b.tensors);
}

class GpuPass : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (at::getNumGPUs() == 0) GTEST_SKIP() << "this machine has no usable GPU";
    testing::write_tiny_model(directory_.path() / "model", kShape);
    // Two micro-batches, so that accumulation is part of it.
    batches_ = {batch_of(lengths_of(GetParam())), batch_of(lengths_of(GetParam()), 1)};
  }
  model::Model load(at::ScalarType type) {
    return train::load(directory_.path() / "model", type, GetParam());
  }
  Gradients autograd(at::ScalarType type) {
    model::Model model = load(type);
    return gradients_of(model, *make_autograd_pass(model), batches_);
  }
  Gradients fused(at::ScalarType type, const LowRankPassOptions& options) {
    model::Model model = load(type);
    return gradients_of(model, *make_low_rank_pass(model, options), batches_);
  }

  testing::TemporaryDirectory directory_;
  std::vector<data::PackedBatch> batches_;
};

TEST_P(GpuPass, FusedInFp32MatchesAutograd) {
  const Gradients expected = autograd(at::kFloat);
  const Gradients actual = fused(at::kFloat, {});
  EXPECT_NEAR(actual.loss, expected.loss, 1e-5 * expected.loss);
  EXPECT_LT(largest(relative_errors(actual, expected)), 1e-4);
}

TEST_P(GpuPass, SideWorkThatComesLateChangesNothing) {
  constexpr std::int64_t kCycles = 1'500'000;  // a millisecond, in which the pass is blocks ahead
  const Gradients expected = autograd(at::kFloat);
  const SideWork::Late late(kCycles);
  for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kBlock}) {
    const Gradients actual = fused(at::kFloat, {.recompute = recompute});
    EXPECT_LT(largest(relative_errors(actual, expected)), 1e-4) << name_of(recompute);
  }
}

// Rounding differs, the size of the error must not.
TEST_P(GpuPass, FusedInBf16IsNoFurtherFromFp32ThanAutogradInBf16) {
  const Gradients truth = autograd(at::kFloat);
  const std::vector<double> plain = relative_errors(autograd(at::kBFloat16), truth);
  const Gradients actual = fused(at::kBFloat16, {});
  const std::vector<double> ours = relative_errors(actual, truth);
  EXPECT_NEAR(actual.loss, truth.loss, 2e-3 * truth.loss);
  EXPECT_LT(mean(plain), kBluntError);
  EXPECT_LE(mean(ours), 1.05 * mean(plain));
  EXPECT_LE(largest(ours), 1.25 * largest(plain));
  RecordProperty("mean_error_fused", std::to_string(mean(ours)));
  RecordProperty("mean_error_autograd", std::to_string(mean(plain)));
  std::printf(
      "bf16 error against fp32, mean and largest over tensors: fused %.5f %.5f, autograd %.5f "
      "%.5f\n",
      mean(ours), largest(ours), mean(plain), largest(plain));
}

// The same kernels on the same inputs, but attention's backward adds in no fixed order: in one run
// of a few that moves a gradient by up to 4e-3 of its norm, where rounding to bf16 moves it by
// 3e-2. Untuned, since each pass would choose the algorithms of its products by timings of its own.
TEST_P(GpuPass, RecomputingAndOffloadingChangeNothing) {
  const Gradients kept = fused(at::kBFloat16, {.tuning = Tuning::kOff});
  for (const auto& [recompute, offload] : {std::pair{Recompute::kSelective, false},
                                           {Recompute::kBlock, false},
                                           {Recompute::kNone, true},
                                           {Recompute::kBlock, true}}) {
    const Gradients again =
        fused(at::kBFloat16, {.recompute = recompute, .offload = offload, .tuning = Tuning::kOff});
    EXPECT_EQ(again.loss, kept.loss);
    EXPECT_LT(largest(relative_errors(again, kept)), 1e-2);
  }
}

// The third step replays what the second recorded, for other tokens and another scale; so does the
// last, where lengths are mixed and its batch is filled up to the same shape.
TEST_P(GpuPass, GraphsChangeNothing) {
  std::vector<int> shorter = lengths_of(GetParam());
  shorter.back() -= 5;
  for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kBlock}) {
    model::Model recorded = load(at::kBFloat16);
    model::Model plain = load(at::kBFloat16);
    const auto graphs = make_low_rank_pass(
        recorded, {.recompute = recompute, .tokens = 1024, .graphs = Graphs::kAlways});
    const auto launches = make_low_rank_pass(
        plain, {.recompute = recompute, .tokens = 1024, .graphs = Graphs::kNever});
    for (int step = 0; step < 5; ++step) {
      std::vector<data::PackedBatch> batches;
      for (int i = 0; i <= step % 3; ++i)
        batches.push_back(batch_of(step == 4 ? shorter : lengths_of(GetParam()), 10 * step + i));
      const Gradients expected = gradients_of(plain, *launches, batches);
      const Gradients actual = gradients_of(recorded, *graphs, batches);
      EXPECT_NEAR(actual.loss, expected.loss, 1e-5 * expected.loss) << step;
      // Attention's backward adds in no fixed order, and another number of rows may be multiplied
      // by another algorithm.
      EXPECT_LT(largest(relative_errors(actual, expected)), 1e-2) << step;
    }
  }
}

// Several kinds of batches in turn: graphs but the first are recorded while another is replayed,
// and launched later.
TEST_P(GpuPass, GraphsOfSeveralKindsInTurnChangeNothing) {
  model::Model recorded = load(at::kBFloat16);
  model::Model plain = load(at::kBFloat16);
  const auto graphs = make_low_rank_pass(recorded, {.tokens = 1024, .graphs = Graphs::kAlways});
  const auto launches = make_low_rank_pass(plain, {.tokens = 1024, .graphs = Graphs::kNever});
  const std::vector<int> whole = lengths_of(GetParam());
  const std::vector<std::vector<int>> kinds = {whole, {whole.begin(), whole.end() - 1}, {whole[1]}};
  for (int step = 0; step < 18; ++step) {
    const std::vector<int>& lengths = kinds[static_cast<std::size_t>(step % 3)];
    std::vector<data::PackedBatch> batches;
    for (int i = 0; i <= step % 2; ++i) batches.push_back(batch_of(lengths, 10 * step + i));
    const Gradients expected = gradients_of(plain, *launches, batches);
    const Gradients actual = gradients_of(recorded, *graphs, batches);
    EXPECT_NEAR(actual.loss, expected.loss, 1e-5 * expected.loss) << step;
    EXPECT_LT(largest(relative_errors(actual, expected)), 1e-2) << step;
  }
}

// Each block is copied by whoever is told of it, in the last of three batches: were it told too
// early, some of a copy would be of the batch before, which a launch of the same graph did.
TEST_P(GpuPass, WhatIsToldOfABlockIsComplete) {
  model::Model model = load(at::kBFloat16);
  const auto pass = make_low_rank_pass(model, {.tokens = 1024, .graphs = Graphs::kAlways});
  const auto caller = c10::cuda::getCurrentCUDAStream();
  const auto batch = [&](int number) { return batch_of(lengths_of(GetParam()), number); };
  int told_elsewhere = 0;
  for (int step = 0; step < 6; ++step) {
    pass->begin_step();
    const FlatGradients flat = pass->flat_gradients();
    const at::Tensor copy = at::zeros_like(flat.all);
    c10::cuda::device_synchronize();
    std::vector<std::int64_t> told;
    std::int64_t end = flat.all.numel();
    for (int i = 0; i < 3; ++i) pass->run(batch(4 * step + i), 1.0);
    pass->run(batch(4 * step + 3), 1.0, [&](std::int64_t block) {
      const std::int64_t begin = flat.begin_of_block[static_cast<std::size_t>(block)];
      copy.narrow(0, begin, end - begin).copy_(flat.all.narrow(0, begin, end - begin));
      end = begin;
      told.push_back(block);
      // A graph is launched from the second of its kind on, and told of on another stream; others
      // of its shape that tell nobody are other graphs.
      if (c10::cuda::getCurrentCUDAStream() != caller) ++told_elsewhere;
    });
    c10::cuda::device_synchronize();
    EXPECT_TRUE(copy.equal(flat.all)) << "step " << step;
    EXPECT_EQ(told, (std::vector<std::int64_t>{6, 5, 4, 3, 2, 1, 0}));
  }
  EXPECT_GT(told_elsewhere, 0);
}

INSTANTIATE_TEST_SUITE_P(Batches, GpuPass,
                         ::testing::Values(Case{"EqualLengths", Lengths::kEqual, 16, true},
                                           Case{"MixedLengths", Lengths::kMixed, 16, true},
                                           Case{"OddRank", Lengths::kMixed, 5, true},
                                           Case{"FrozenA", Lengths::kEqual, 16, false},
                                           Case{"SharedA", Lengths::kMixed, 5, false, true},
                                           Case{"FrozenB", Lengths::kMixed, 5, true, false, false}),
                         [](const auto& tested) { return std::string(tested.param.name); });

// Autograd over kernels: its bf16 error against fp32, beside that of ATen's operations.
class GpuNodes : public ::testing::TestWithParam<std::pair<testing::Method, Lengths>> {};

TEST_P(GpuNodes, GradientsAreAtens) {
  if (at::getNumGPUs() == 0) GTEST_SKIP() << "this machine has no usable GPU";
  const testing::TemporaryDirectory directory;
  const Case lengths{"", GetParam().second, 0, true};
  const testing::OperationsRun run{
      .directory = directory.path() / "model",
      .method = GetParam().first,
      .shape = kShape,
      .device = at::kCUDA,
      .batches = {batch_of(lengths_of(lengths)), batch_of(lengths_of(lengths), 1)}};
  using model::Operations;
  const auto truth = run.gradients(at::kFloat, Operations::kAten);
  const auto exact = run.gradients(at::kFloat, Operations::kKernels);
  EXPECT_NEAR(exact.loss, truth.loss, 1e-5 * truth.loss);
  EXPECT_LT(largest(testing::relative_errors(exact.gradients, truth.gradients)), 1e-4);
  const auto errors_of = [&](Operations operations) {
    return testing::relative_errors(run.gradients(at::kBFloat16, operations).gradients,
                                    truth.gradients);
  };
  const auto plain = errors_of(Operations::kAten);
  const auto ours = errors_of(Operations::kKernels);
  std::printf("bf16 error against fp32, mean over tensors: kernels %.5f, ATen %.5f\n", mean(ours),
              mean(plain));
  if (!run.drops()) {
    EXPECT_LT(mean(plain), kBluntError);
  }
  EXPECT_LE(mean(ours), 1.05 * mean(plain));
  EXPECT_LE(largest(ours), 1.25 * largest(plain));
}

// Dropout draws from the same stream whatever the operations, but other masks in 16 bits than in
// fp32, so there its fp32 half is what tells something.
INSTANTIATE_TEST_SUITE_P(
    Methods, GpuNodes,
    ::testing::Values(std::pair{testing::Method::kDora, Lengths::kEqual},
                      std::pair{testing::Method::kDora, Lengths::kMixed},
                      std::pair{testing::Method::kLoraDropout, Lengths::kMixed},
                      std::pair{testing::Method::kDoraDropout, Lengths::kEqual},
                      std::pair{testing::Method::kFull, Lengths::kEqual},
                      std::pair{testing::Method::kFullTied, Lengths::kMixed}),
    [](const auto& tested) {
      return testing::name_of(tested.param.first) +
             (tested.param.second == Lengths::kEqual ? "EqualLengths" : "MixedLengths");
    });

TEST(GpuRehearsal, IsAStepThatLeavesMemoryGeneratorsAndKeptAlgorithmsAsTheyWere) {
  if (at::getNumGPUs() == 0) GTEST_SKIP() << "this machine has no usable GPU";
  const testing::TemporaryDirectory folder;
  testing::write_tiny_model(folder.path() / "model", kShape);
  const model::ModelDescription described = model::read_model_config(folder.path() / "model");
  const at::Device device(at::kCUDA, 0);
  TrainSettings settings;
  settings.method = "lora";
  settings.lora.rank = 8;
  settings.tuning_cache = (folder.path() / "tuning").string();
  const auto held = [&] {
    return c10::cuda::CUDACachingAllocator::getDeviceStats(device.index())
        .allocated_bytes[0]
        .current;
  };
  const auto drawn = [&](bool rehearses) {
    at::manual_seed(5);
    if (rehearses) rehearse(settings, described, device);
    return at::rand({16}, device).cpu();
  };
  const at::Tensor expected = drawn(false);
  rehearse(settings, described, device);  // libraries take their workspaces once
  const std::int64_t before = held();
  EXPECT_TRUE(at::equal(drawn(true), expected));
  EXPECT_EQ(held(), before);
  EXPECT_FALSE(std::filesystem::exists(settings.tuning_cache));
  const Rehearsed found = rehearse(settings, described, device);
  EXPECT_NEAR(found.loss, std::log(512.0), 1e-2);
  EXPECT_EQ(found.grad_norm, 0);
  EXPECT_TRUE(rehearsal_of(settings, described, device));
  settings.shard = true;
  EXPECT_FALSE(rehearsal_of(settings, described, device));
}

}  // namespace
}  // namespace corda::train
