// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/flops.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/temporary_directory.h"
#include "tiny_lora.h"

namespace corda::train {
namespace {

class Flops : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory_;
  model::Model model_ = testing::load_tiny_lora(directory_.path() / "model");
};

TEST_F(Flops, OfAStepAreCountedByHand) {
  // Weights of a block: q, o 32 x 32; k, v 16 x 32; gate, up, down 48 x 32. Factors: rank 4 times
  // in + out of each.
  const double frozen = 2 * 32 * 32 + 2 * 16 * 32 + 3 * 48 * 32;
  const double factors = 4 * (2 * (32 + 32) + 2 * (16 + 32) + 3 * (48 + 32));
  const double head = 96 * 32;
  // The input of the lowest q, k and v needs no gradient: nothing below is trained.
  const double lowest = (32 + 2 * 16) * 32 + 3 * 4 * 32;
  const double lora = 10 * (2 * (4 * frozen + 6 * factors) - 2 * lowest) + 7 * 4 * head;
  EXPECT_EQ(flops_of_step(model_, 10, 7, 3), lora);
  // DoRA's norms: W A^T, A A^T and B (A A^T), 2 x 4 operations an entry of W, A and B, three times.
  for (model::Linear* linear : model_.linear_layers())
    linear->low_rank->magnitude = at::ones({linear->weight.size(0)});
  EXPECT_EQ(flops_of_step(model_, 10, 7, 3), lora + 3 * 2 * 2 * 4 * (frozen + factors));
}

TEST_F(Flops, AFrozenAOfSeveralLayersIsCountedOnce) {
  for (model::Linear* linear : model_.linear_layers()) linear->low_rank->a.set_requires_grad(false);
  const double apart = flops_of_step(model_, 10, 7, 1);
  for (model::Block& block : model_.blocks) {
    for (const std::size_t site : {model::kAttentionInput, model::kFeedForwardInput})
      for (model::Linear& linear : block.sites[site])
        linear.low_rank->a = block.sites[site].front().low_rank->a;
  }
  // Three factors of 4 x 32 less in each block, forward and for the gradient of the input, which
  // the lowest q, k and v do not need.
  EXPECT_EQ(apart - flops_of_step(model_, 10, 7, 1), 10 * 2 * 4 * 32 * (2 * 3 * 2 - 2));
}

TEST_F(Flops, NoBackwardIsCountedBelowTheLowestAdapter) {
  for (model::Linear* linear : model_.linear_layers())
    if (!linear->name.ends_with("layers.1.mlp.gate_proj")) linear->low_rank.reset();
  const double attention = 2 * 32 * 32 + 2 * 16 * 32;
  const double gate = 48 * 32;
  // Forward of everything; backward of the head, of the upper down projection and of B; A's and
  // B's own gradients.
  const double forward = 2 * (attention + 3 * gate) + 4 * (48 + 32);
  const double backward = gate + 4 * 48 + 4 * (48 + 32);
  EXPECT_EQ(flops_of_step(model_, 10, 7, 3), 10 * 2 * (forward + backward) + 7 * 4 * 96 * 32);
  model_.blocks[1].sites[model::kFeedForwardInput][0].low_rank->a.set_requires_grad(
      false);  // then B's input needs none either
  EXPECT_EQ(flops_of_step(model_, 10, 7, 3), 10 * 2 * (forward + gate + 4 * 48) + 7 * 4 * 96 * 32);
}

}  // namespace
}  // namespace corda::train
