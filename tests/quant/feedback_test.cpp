// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/quant/feedback.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "support/error_of.h"

namespace corda::quant {
namespace {

using ::testing::HasSubstr;

at::Tensor to_whole(std::int64_t, const at::Tensor& values) { return values.round(); }

// Inputs of few directions: what a calibration gives.
at::Tensor correlated(std::int64_t in) {
  at::manual_seed(5);
  const at::Tensor mixing = at::randn({in / 4, in});
  const at::Tensor x = at::mm(at::randn({8 * in, in / 4}), mixing) + at::randn({8 * in, in}) * 0.1;
  return at::mm(x.t(), x);
}

at::Tensor values_of(const kernels::PackedWeight& packed) {
  at::Tensor values = at::empty({packed.rows, packed.columns}, at::kFloat);
  kernels::dequantise(values, packed);
  return values;
}

TEST(RoundWithFeedback, GivesTheErrorOfAColumnToTheOneThatIsCorrelatedWithIt) {
  const at::Tensor weight = at::tensor({0.4F, 0.4F}).view({1, 2});
  const at::Tensor covariance = at::tensor({1.0F, 0.9F, 0.9F, 0.99F}).view({2, 2});
  // 0.4 -> 0 leaves 0.4, of which 0.9 / 0.99 goes to the other input: 0.76 -> 1.
  const at::Tensor rounded = round_with_feedback(weight, covariance, to_whole, 1e-9);
  EXPECT_TRUE(at::equal(rounded, at::tensor({0.0F, 1.0F}).view({1, 2})));
  EXPECT_LT(output_error(weight, rounded, covariance),
            0.2 * output_error(weight, weight.round(), covariance));
}

TEST(RoundWithFeedback, OfInputsWithoutCorrelationIsRoundingToNearest) {
  at::manual_seed(2);
  const at::Tensor weight = at::randn({5, 300});
  const at::Tensor covariance = at::diag(at::rand({300}) + 0.1);
  EXPECT_TRUE(at::equal(round_with_feedback(weight, covariance, to_whole), weight.round()));
  EXPECT_TRUE(at::equal(round_with_feedback(weight, covariance, at::kBFloat16),
                        weight.to(at::kBFloat16).to(at::kFloat)));
}

TEST(RoundWithFeedback, AsksForEveryColumnOnceAndPutsItWhereItBelongs) {
  const at::Tensor weight = at::randn({7, 260});
  std::vector<int> asked(260, 0);
  const at::Tensor rounded = round_with_feedback(
      weight, correlated(260), [&](std::int64_t column, const at::Tensor& values) {
        ++asked[static_cast<std::size_t>(column)];
        return at::full_like(values, static_cast<double>(column));
      });
  EXPECT_EQ(asked, std::vector<int>(260, 1));
  EXPECT_TRUE(at::equal(rounded, at::arange(260, at::kFloat).expand({7, 260})));
}

TEST(RoundWithFeedback, HalvesTheErrorOfOutputsInEveryFormatWhereInputsAreCorrelated) {
  const at::Tensor covariance = correlated(256);
  const at::Tensor weight = at::randn({96, 256}) * 0.02;
  const at::Tensor nearest = weight.to(at::kBFloat16).to(at::kFloat);
  EXPECT_LT(
      output_error(weight, round_with_feedback(weight, covariance, at::kBFloat16), covariance),
      0.5 * output_error(weight, nearest, covariance));
  for (const Format format :
       {Format{Base::kNf4}, Format{Base::kFloat8}, Format{Base::kFloat8, Scales::kChannel}}) {
    SCOPED_TRACE(core::concat(base_names()[static_cast<std::size_t>(format.base)],
                              format.scales == Scales::kBlock ? " a tile" : " a row"));
    const auto plain = quantise(weight, format);
    const auto informed = quantise(weight, format, covariance);
    EXPECT_LT(output_error(weight, values_of(informed), covariance),
              0.5 * output_error(weight, values_of(plain), covariance));
  }
}

// The scale of every value: what its code of 1 means.
at::Tensor scales_of(kernels::PackedWeight packed) {
  auto& codes = std::get<kernels::TableCodes>(packed.codes);
  codes.codes = at::full_like(codes.codes, 0xFF);  // two codes of 15
  return values_of(packed);
}

// GPTQ in fp64, one column after another and without a factorisation: what rounding a column loses
// goes to those that are left by the inverse Hessian, from which the column is then eliminated.
at::Tensor gptq(const at::Tensor& weight, const at::Tensor& covariance, const at::Tensor& scales,
                bool in_order_of_energy) {
  const std::int64_t in = weight.size(1);
  const at::Tensor hessian = covariance.to(at::kDouble);
  const at::Tensor energies = hessian.diagonal();
  const at::Tensor eye = at::eye(in, at::kDouble);
  at::Tensor inverse = at::linalg_inv(hessian + 0.01 * energies.mean() * eye);
  const at::Tensor order =
      in_order_of_energy ? energies.argsort(0, /*descending=*/true) : at::arange(in, at::kLong);
  const at::Tensor table = at::tensor(nf4_values(), at::kDouble);
  at::Tensor left = weight.to(at::kDouble).clone();
  at::Tensor rounded = at::zeros_like(left);
  for (std::int64_t i = 0; i < in; ++i) {
    const auto column = order[i].item<std::int64_t>();
    const at::Tensor scale = scales.select(1, column).to(at::kDouble);
    const at::Tensor scaled = left.select(1, column) / scale;
    const at::Tensor nearest = (scaled.unsqueeze(1) - table).abs().argmin(1);
    rounded.select(1, column).copy_(table.index_select(0, nearest) * scale);
    const at::Tensor lost = left.select(1, column) - rounded.select(1, column);
    const at::Tensor row = inverse.select(0, column) / inverse[column][column];
    left -= at::outer(lost, row);
    inverse = inverse - at::outer(inverse.select(1, column), row);
  }
  return rounded;
}

TEST(RoundWithFeedback, OfNf4HasTheErrorOfGptqInTheOrderOfEnergies) {
  // Inputs of unlike size, as a model's are.
  at::manual_seed(6);
  const at::Tensor sizes = at::exp(at::randn({256}));
  const at::Tensor covariance = correlated(256) * at::outer(sizes, sizes);
  const at::Tensor weight = at::randn({192, 256}) * 0.02;
  const auto plain = quantise(weight, {Base::kNf4});
  const at::Tensor scales = scales_of(plain);
  const auto error = [&](const at::Tensor& values) {
    return output_error(weight, values, covariance);
  };
  const double ours = error(values_of(quantise(weight, {Base::kNf4}, covariance)));
  const double theirs = error(gptq(weight, covariance, scales, true));
  // Both are sums over rows that round otherwise in the end, as fp32 and fp64 differ.
  EXPECT_NEAR(ours, theirs, 0.02 * theirs);
  EXPECT_GT(error(gptq(weight, covariance, scales, false)), 1.03 * theirs);
  EXPECT_GT(error(values_of(plain)), 2 * theirs);
}

TEST(RoundWithFeedback, KeepsTheScalesOfPlainRounding) {
  const at::Tensor weight = at::randn({96, 256}) * 0.02;
  const auto plain = std::get<kernels::TableCodes>(quantise_nf4(weight).codes);
  const auto informed =
      std::get<kernels::TableCodes>(quantise(weight, {Base::kNf4}, correlated(256)).codes);
  EXPECT_TRUE(at::equal(informed.absmax, plain.absmax));
  EXPECT_TRUE(at::equal(informed.nested_absmax, plain.nested_absmax));
  EXPECT_FALSE(at::equal(informed.codes, plain.codes));
}

TEST(RoundWithFeedback, OfAnInputThatIsNeverThereIsRoundingToNearest) {
  at::Tensor covariance = correlated(64);
  covariance.select(0, 3).zero_();
  covariance.select(1, 3).zero_();
  const at::Tensor weight = at::randn({4, 64});
  const at::Tensor rounded = round_with_feedback(weight, covariance, to_whole);
  EXPECT_TRUE(at::equal(rounded.select(1, 3), weight.select(1, 3).round()));
}

TEST(RoundWithFeedback, RefusesACovarianceThatIsNoneOfTheseInputs) {
  const at::Tensor weight = at::randn({4, 8});
  EXPECT_THAT(testing::error_of<core::ShapeError>(
                  [&] { round_with_feedback(weight, at::eye(7), at::kBFloat16); }),
              HasSubstr("needs a covariance [8, 8]"));
  EXPECT_THAT(testing::error_of<core::NumericalError>(
                  [&] { round_with_feedback(weight, -at::eye(8), at::kBFloat16); }),
              HasSubstr("zero or not finite"));
  at::Tensor indefinite = at::eye(8);
  indefinite[0][1].fill_(5);
  indefinite[1][0].fill_(5);
  EXPECT_THAT(testing::error_of<core::NumericalError>(
                  [&] { round_with_feedback(weight, indefinite, at::kBFloat16); }),
              HasSubstr("not positive definite"));
}

}  // namespace
}  // namespace corda::quant
