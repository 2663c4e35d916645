// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Autograd over kernels against autograd over ATen's operations, on the CPU.
#include "operations.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "model/nodes.h"
#include "support/golden_batches.h"
#include "support/random_tensor.h"
#include "support/temporary_directory.h"

namespace corda::train {
namespace {

using model::Operations;
using testing::Method;
using testing::OperationsRun;

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

class Nodes : public ::testing::TestWithParam<Method> {
 protected:
  // Two micro-batches, so that accumulation is part of it.
  OperationsRun run() const {
    const auto samples = testing::golden_batches();
    std::vector<data::PackedBatch> batches;
    for (const std::size_t i : {0, 1})
      for (auto& batch : testing::micro_batches(samples[i], 1 << 20, true))
        batches.push_back(std::move(batch));
    return {.directory = directory_.path() / "model",
            .method = GetParam(),
            .shape = {.vocab = 320, .hidden = 64, .intermediate = 96},
            .batches = std::move(batches)};
  }
  testing::TemporaryDirectory directory_;
};

TEST_P(Nodes, GradientsInFp32AreAtens) {
  const OperationsRun run = this->run();
  const auto expected = run.gradients(at::kFloat, Operations::kAten);
  const auto actual = run.gradients(at::kFloat, Operations::kKernels);
  EXPECT_NEAR(actual.loss, expected.loss, 1e-6 * expected.loss);
  ASSERT_EQ(actual.gradients.size(), expected.gradients.size());
  const auto errors = relative_errors(actual, expected);
  for (std::size_t i = 0; i < errors.size(); ++i)
    EXPECT_LT(errors[i], 2e-5) << expected.gradients[i].first;  // sums in another order
}

TEST_P(Nodes, GradientsInBf16AreNoFurtherFromFp32ThanAtens) {
  const OperationsRun run = this->run();
  const auto truth = run.gradients(at::kFloat, Operations::kAten);
  const auto plain = relative_errors(run.gradients(at::kBFloat16, Operations::kAten), truth);
  const auto ours = relative_errors(run.gradients(at::kBFloat16, Operations::kKernels), truth);
  EXPECT_GT(mean(plain), 1e-4);  // it was bf16
  EXPECT_LE(mean(ours), 1.05 * mean(plain));
}

INSTANTIATE_TEST_SUITE_P(Methods, Nodes,
                         ::testing::Values(Method::kDora, Method::kLoraDropout,
                                           Method::kDoraDropout, Method::kFull, Method::kFullTied),
                         [](const auto& tested) { return testing::name_of(tested.param); });

// In chunks, and with a factor behind it.
TEST(CrossEntropyNode, GradientsDoNotDependOnTheChunk) {
  const at::Tensor rows = testing::random_tensor({7, 12}, 1).set_requires_grad(true);
  const at::Tensor weight = testing::random_tensor({19, 12}, 2).set_requires_grad(true);
  const at::Tensor targets = at::tensor({0, 18, 3, 3, 7, 11, 2}, at::kLong);
  const auto gradients = [&](const at::Tensor& loss) {
    rows.mutable_grad() = weight.mutable_grad() = at::Tensor();
    (loss * 0.25).backward();
    return std::pair{rows.grad().clone(), weight.grad().clone()};
  };
  const auto expected =
      gradients(at::cross_entropy_loss(at::mm(rows, weight.t()), targets, {}, at::Reduction::Sum));
  for (const std::int64_t chunk : {1, 3, 7, 100}) {
    const auto [d_rows, d_weight] =
        gradients(model::cross_entropy_node(rows, weight, targets, chunk));
    EXPECT_LT((d_rows - expected.first).abs().max().item<double>(), 1e-6) << chunk;
    EXPECT_LT((d_weight - expected.second).abs().max().item<double>(), 1e-6) << chunk;
  }
}

TEST(AttentionNode, GradientsAreAtens) {
  const std::vector<std::int32_t> offsets = {0, 5, 6, 13};
  std::vector<std::int32_t> positions;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i)
    for (std::int32_t t = offsets[i]; t < offsets[i + 1]; ++t) positions.push_back(t - offsets[i]);
  const std::vector<std::int32_t> ids(13, 1);
  const model::Batch batch = model::make_batch(ids, positions, offsets, 2, at::kCPU);
  const auto leaf = [](std::int64_t heads, std::uint64_t seed) {
    return testing::random_tensor({13, heads, 8}, seed).set_requires_grad(true);
  };
  const at::Tensor q = leaf(4, 1), k = leaf(2, 2), v = leaf(2, 3);
  const at::Tensor direction = testing::random_tensor({13, 4, 8}, 4);
  const auto gradients = [&](const at::Tensor& out) {
    q.mutable_grad() = k.mutable_grad() = v.mutable_grad() = at::Tensor();
    (out * direction).sum().backward();
    return std::vector<at::Tensor>{out.detach(), q.grad(), k.grad(), v.grad()};
  };
  const auto expected = gradients(model::PackedAttention(batch).attend(0, q, k, v));
  const auto actual = gradients(model::attention_node(batch, q, k, v));
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_LT((actual[i] - expected[i]).abs().max().item<double>(), 1e-6) << i;
}

}  // namespace
}  // namespace corda::train
