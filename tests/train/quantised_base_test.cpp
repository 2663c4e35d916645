// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Training over weights in codes: losses and gradients are those of the same training over the
// matrices that the codes mean.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <utility>

#include "support/golden_batches.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"
#include "train/gradient_pass.h"
#include "train/low_rank_pass.h"
#include "train/quantised_helpers.h"
#include "train/step.h"

namespace corda::train {
namespace {

using quant::Base;
using testing::base_adapter;
using testing::dequantised;
using testing::load_base;

class QuantisedBase : public ::testing::TestWithParam<Base> {
 protected:
  void SetUp() override {
    testing::write_tiny_model(temporary_.path() / "model", {.hidden = 64, .intermediate = 144});
  }
  model::Model load(Base base) const { return load_base(temporary_.path() / "model", {}, base); }

  static std::vector<data::PackedBatch> batches() {
    std::vector<data::PackedBatch> result;
    for (const auto& batch : testing::micro_batches(testing::golden_batches()[0], 1 << 20, true))
      result.push_back(batch);
    return result;
  }

  using MakePass = std::function<std::unique_ptr<GradientPass>(model::Model&)>;

  // Runs both over the same batches.
  static void expect_same(model::Model& codes, model::Model& matrices,
                          const MakePass& pass_of_codes, const MakePass& pass_of_matrices) {
    const auto ours = pass_of_codes(codes);
    const auto theirs = pass_of_matrices(matrices);
    ours->begin_step();
    theirs->begin_step();
    for (const auto& batch : batches()) {
      const double loss = ours->run(batch, 0.25).item<double>();
      const double expected = theirs->run(batch, 0.25).item<double>();
      EXPECT_NEAR(loss, expected, 1e-5 * expected);
    }
    const auto actual = codes.linear_layers();
    const auto reference = matrices.linear_layers();
    int compared = 0;
    for (std::size_t i = 0; i < actual.size(); ++i) {
      if (!reference[i]->low_rank) continue;
      for (at::Tensor model::LowRank::*factor :
           {&model::LowRank::a, &model::LowRank::b, &model::LowRank::magnitude}) {
        const at::Tensor& expected = (*reference[i]->low_rank).*factor;
        if (!expected.defined()) continue;
        const at::Tensor error = ((*actual[i]->low_rank).*factor).grad() - expected.grad();
        // fp32 sums in another order.
        EXPECT_LT(error.abs().max().item<double>(),
                  1e-4 * expected.grad().abs().max().item<double>())
            << actual[i]->name;
        ++compared;
      }
    }
    EXPECT_GE(compared, 24);
  }

  // One adapter over codes and over the matrices that they mean.
  std::pair<model::Model, model::Model> adapted(bool subtracts) const {
    std::pair<model::Model, model::Model> both{load(GetParam()), dequantised(load(GetParam()))};
    const adapter::Adapter adapter = base_adapter(both.second, subtracts, false);
    model::attach_trainable(both.first, adapter);
    model::attach_trainable(both.second, adapter);
    return both;
  }

  testing::TemporaryDirectory temporary_;
};

TEST_P(QuantisedBase, IsHeldInCodesInTheBlocksAndNowhereElse) {
  const model::Model plain = load(Base::kDense);
  const model::Model model = load(GetParam());
  std::int64_t bytes = 0;
  std::int64_t values = 0;
  for (const model::Linear* linear : model.linear_layers()) {
    ASSERT_TRUE(linear->packed) << linear->name;
    EXPECT_TRUE(linear->weight.is_meta());
    bytes += linear->packed->codes.bytes();
    values += linear->weight.numel();
  }
  EXPECT_FALSE(model.head.packed);
  EXPECT_TRUE(at::equal(model.head.weight, plain.head.weight));
  EXPECT_TRUE(at::equal(model.embedding, plain.embedding));
  // The tables of small layers count for much: 4.13 and 8 bits a value without them.
  EXPECT_LT(8.0 * static_cast<double>(bytes) / static_cast<double>(values),
            GetParam() == Base::kNf4 ? 6.5 : 8.1);
  const at::Tensor error =
      model::weight_of(*model.linear_layers()[0]) - plain.linear_layers()[0]->weight;
  const double largest = plain.linear_layers()[0]->weight.abs().max().item<double>();
  EXPECT_GT(error.abs().max().item<double>(), 1e-3 * largest);
  // Half the widest step of NF4, or of e4m3 at its largest binade.
  EXPECT_LT(error.abs().max().item<double>(), (GetParam() == Base::kNf4 ? 0.16 : 0.04) * largest);
}

TEST_P(QuantisedBase, HasTheGradientsOfItsDequantisedCopyInTheFusedPass) {
  for (const bool subtracts : {false, true}) {
    SCOPED_TRACE(subtracts);
    for (const Recompute recompute : {Recompute::kNone, Recompute::kBlock}) {
      auto [codes, matrices] = adapted(subtracts);
      ASSERT_TRUE(supports_low_rank_pass(codes));
      const auto fused = [&](model::Model& model) {
        return make_low_rank_pass(model, {.recompute = recompute});
      };
      expect_same(codes, matrices, fused, fused);
      ASSERT_TRUE(codes.linear_layers()[0]->packed);
    }
  }
}

TEST_P(QuantisedBase, GivesSomeRowsAsInTheWhole) {
  for (const bool subtracts : {false, true}) {
    model::Model model = load(GetParam());
    model::attach_trainable(model, base_adapter(dequantised(load(GetParam())), subtracts, false));
    for (const model::Linear* linear : model.linear_layers()) {
      EXPECT_EQ(linear->packed->start_a.defined(), subtracts && linear->low_rank.has_value());
      const at::Tensor whole = model::weight_of(*linear);
      for (const auto& [first, rows] : {std::pair{0, 5}, {3, 7}, {9, 23}}) {
        const at::Tensor some = at::empty({rows, whole.size(1)});
        model::write_weight(*linear, some, first);
        EXPECT_TRUE(at::allclose(some, whole.narrow(0, first, rows), 1e-6, 1e-7)) << linear->name;
      }
    }
  }
}

TEST_P(QuantisedBase, HasTheGradientsOfItsDequantisedCopyInFloat8) {
  testing::write_tiny_model(temporary_.path() / "model", {.hidden = 128, .intermediate = 256});
  for (const bool subtracts : {false, true}) {
    SCOPED_TRACE(subtracts);
    for (const Recompute recompute : {Recompute::kNone, Recompute::kBlock}) {
      auto [codes, matrices] = adapted(subtracts);
      const auto fused = [&](model::Model& model) {
        return make_low_rank_pass(model, {.recompute = recompute, .float8 = true});
      };
      const std::int64_t bytes = codes.linear_layers()[0]->packed->codes.bytes();
      expect_same(codes, matrices, fused, fused);
      EXPECT_EQ(codes.linear_layers()[0]->packed->codes.bytes(), bytes)
          << "they stay what they are";
    }
  }
}

TEST_P(QuantisedBase, HasTheGradientsOfItsDequantisedCopyInEveryOtherPass) {
  for (const bool magnitude : {false, true}) {
    SCOPED_TRACE(magnitude);
    for (const model::Operations operations :
         {model::Operations::kAten, model::Operations::kKernels}) {
      model::Model codes = load(GetParam());
      model::Model matrices = dequantised(load(GetParam()));
      const adapter::Adapter adapter = base_adapter(matrices, true, magnitude);
      model::attach_trainable(codes, adapter);
      model::attach_trainable(matrices, adapter);
      expect_same(
          codes, matrices,
          [&](model::Model& model) { return make_autograd_pass(model, operations); },
          [&](model::Model& model) { return make_autograd_pass(model); });
    }
  }
}

TEST_P(QuantisedBase, AddsOneMatrixOfTheWidestSiteToTheFusedPassAndNoMore) {
  model::Model codes = load(GetParam());
  model::Model matrices = dequantised(load(GetParam()));
  const adapter::Adapter adapter = base_adapter(matrices, false, false);
  model::attach_trainable(codes, adapter);
  model::attach_trainable(matrices, adapter);
  const LowRankPassOptions options{.tokens = 64};
  // Gate and up, [2 * 144 + 2 * 8, 64 + 2 * 8], in fp32.
  EXPECT_EQ(low_rank_pass_bytes(codes, options) - low_rank_pass_bytes(matrices, options),
            (288 + 16) * (64 + 16) * 4);
}

INSTANTIATE_TEST_SUITE_P(, QuantisedBase, ::testing::Values(Base::kNf4, Base::kFloat8),
                         [](const auto& tested) {
                           return quant::base_names()[static_cast<std::size_t>(tested.param)];
                         });

}  // namespace
}  // namespace corda::train
