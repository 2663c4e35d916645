// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A model in parts computes what the whole one computes; each part has its place.
#include "train/sharded_parameters.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <memory>
#include <tuple>

#include "corda/core/error.h"
#include "corda/model/model.h"
#include "sharded_model.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"
#include "train/device_batch.h"
#include "train/gradient_pass.h"
#include "train/sharded_pass.h"
#include "train/trained_state.h"

namespace corda::train {
namespace {

using corda::testing::TinyModelOptions;

constexpr TinyModelOptions kUntied{.vocab = 257, .layers = 3};
constexpr TinyModelOptions kTied{.vocab = 257, .layers = 3, .tied = true};

class Sharded : public ::testing::TestWithParam<std::tuple<bool, model::Operations>> {
 protected:
  model::Model load() {
    return corda::testing::load_tiny_model(folder_.path() / "model",
                                           std::get<0>(GetParam()) ? kTied : kUntied);
  }
  model::Operations operations() const { return std::get<1>(GetParam()); }

  corda::testing::TemporaryDirectory folder_;
};

TEST_P(Sharded, GradientsAndLossesAreThoseOfAutogradOverTheWhole) {
  model::Model whole = load();
  for (auto& [name, tensor] : whole.parameters()) tensor->set_requires_grad(true);
  model::Model split = load();
  const auto parameters = shard(split);
  const auto reference = make_autograd_pass(whole, operations());
  const auto pass = make_sharded_pass(split, *parameters, operations());
  pass->begin_step();
  for (const data::PackedBatch& batch : two_batches()) {
    const double expected = reference->run(batch, 0.01).item<double>();
    EXPECT_NEAR(pass->run(batch, 0.01).item<double>(), expected, 1e-6 * expected);
    const double evaluated =
        sharded_loss_sum(split, *parameters, to_device(batch, split)).item<double>();
    EXPECT_NEAR(evaluated, expected, 1e-6 * expected);
  }
  const auto gradients = gradients_of(*parameters);
  ASSERT_EQ(gradients.size(), whole.parameters().size());
  for (const auto& [name, tensor] : whole.parameters()) {
    const double scale = tensor->grad().abs().max().item<double>();
    EXPECT_GT(scale, 0) << name;
    const double off = (gradients.at(name) - tensor->grad()).abs().max().item<double>();
    EXPECT_LT(off, 2e-6 * scale) << name;  // a few roundings of fp32 sums
  }
  pass->begin_step();
  for (const auto& [name, piece] : parameters->pieces())
    EXPECT_EQ(piece.grad().abs().max().item<float>(), 0);
}

// What is named, asked for and put back is the model's, whatever part it came from.
TEST_P(Sharded, StateGoesOutByNameAndComesBack) {
  model::Model whole = load();
  model::Model split = load();
  const auto parameters = shard(split);
  AdamW optimizer(parameters->pieces(), {});
  const auto state = split_state(optimizer, *parameters, dist::alone());
  std::map<std::string, at::Tensor> saved;
  state->by_first([&] {
    const StateTensors tensors = state->tensors();
    for (std::size_t i = 0; i < tensors.entries.size(); ++i)
      saved[tensors.entries[i].name] = tensors.value(i).clone();
    state->require_finite();
  });
  ASSERT_EQ(saved.size(), 4 * whole.parameters().size());
  for (const auto& [name, tensor] : whole.parameters()) {
    EXPECT_TRUE(saved.at(name).equal(*tensor)) << name;
    EXPECT_TRUE(saved.at(name + ".exp_avg").equal(at::zeros_like(*tensor))) << name;
  }
  state->by_first([&] {
    state->restore([&](const StateEntry& entry) {
      if (entry.name.ends_with(".step")) return at::full({}, 7.0);
      return entry.name.ends_with(".exp_avg_sq") ? at::ones(entry.sizes) : 2 * saved[entry.name];
    });
    EXPECT_TRUE(state->parameter("model.layers.1.mlp.up_proj.weight")
                    .equal(2 * saved["model.layers.1.mlp.up_proj.weight"]));
    const StateTensors tensors = state->tensors();
    for (std::size_t i = 0; i < tensors.entries.size(); ++i) {
      const std::string& name = tensors.entries[i].name;
      const double smallest = tensors.value(i).min().item<double>();
      if (name.ends_with(".step")) {
        EXPECT_EQ(smallest, 7) << name;
      } else if (name.ends_with(".exp_avg_sq")) {
        EXPECT_EQ(smallest, 1) << name;
      }
    }
  });
  const at::NoGradGuard no_grad;
  optimizer.parameters()[2].second[5] = std::numeric_limits<float>::infinity();
  state->by_first([&] { EXPECT_THROW(state->require_finite(), core::NumericalError); });
}

INSTANTIATE_TEST_SUITE_P(HeadAndOperations, Sharded,
                         ::testing::Combine(::testing::Bool(),
                                            ::testing::Values(model::Operations::kAten,
                                                              model::Operations::kKernels)));

// What is there at the same time stands in different places.
TEST(ShardLayout, NothingThatIsUsedTogetherMeetsInTheRoom) {
  const corda::testing::TemporaryDirectory folder;
  for (const TinyModelOptions& options : {kUntied, kTied}) {
    const auto model = corda::testing::load_tiny_model(folder.path() / "model", options);
    for (const int ranks : {1, 2, 3, 8}) {
      const ShardLayout layout = shard_layout(model.config, ranks);
      const auto apart = [&](std::int64_t a, std::size_t of_a, std::int64_t b, std::size_t of_b) {
        EXPECT_TRUE(a + layout.parts[of_a].elements <= b || b + layout.parts[of_b].elements <= a)
            << ranks << " ranks, parts " << of_a << " and " << of_b;
      };
      const auto& parts = layout.parts;
      ASSERT_EQ(parts.size(), 5U);
      std::int64_t elements = 0;
      for (std::size_t i = 0; i < parts.size(); ++i) {
        EXPECT_EQ(parts[i].elements % ranks, 0);
        EXPECT_LE(parts[i].weights + parts[i].elements, layout.room);
        EXPECT_LE(parts[i].gradients + parts[i].elements, layout.room);
        for (const ShardPlace& place : parts[i].places) {
          EXPECT_EQ(place.begin % 64, 0) << place.name;
          elements += place.elements();
        }
      }
      for (std::size_t i = 1; i + 1 < layout.end(); ++i) {  // a block and the next
        apart(parts[i].weights, i, parts[i + 1].weights, i + 1);
        apart(parts[i].weights, i, parts[i].gradients, i);
        apart(parts[i].gradients, i, parts[i + 1].gradients, i + 1);
        apart(parts[i].weights, i, parts[i + 1].gradients, i + 1);
        apart(parts[i + 1].weights, i + 1, parts[i].gradients, i);
      }
      const std::size_t end = layout.end();
      apart(parts[end].weights, end, parts[end].gradients, end);
      if (options.tied) {
        apart(parts[0].weights, 0, parts[0].gradients, 0);
        for (const std::int64_t mine : {parts[end].weights, parts[end].gradients}) {
          apart(mine, end, parts[0].weights, 0);
          apart(mine, end, parts[0].gradients, 0);
        }
      }
      // A piece is the share of all, but for the alignment of 32 tensors and the ends of parts.
      EXPECT_GE(layout.piece_bytes() * ranks, 4 * elements);
      EXPECT_LE(layout.piece_bytes() * ranks, 4 * (elements + 64 * (32 + 5 * ranks)));
    }
  }
}

}  // namespace
}  // namespace corda::train
