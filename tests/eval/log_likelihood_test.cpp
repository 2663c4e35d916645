// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/log_likelihood.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "corda/core/error.h"
#include "corda/model/forward.h"
#include "support/error_of.h"
#include "support/family_goldens.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::eval {
namespace {

using Ids = std::vector<std::int32_t>;

class Likelihoods : public ::testing::Test {
 protected:
  // The plain way: all logits of the whole sequence.
  LogLikelihood alone(const LikelihoodRequest& request) const {
    const at::NoGradGuard no_grad;
    const model::Batch batch = corda::testing::batch_of(model_, {request.ids});
    model::PackedAttention attention(batch);
    const at::Tensor logits =
        model::logits_of(model_, model::forward_hidden(model_, batch, attention)).to(at::kDouble);
    LogLikelihood found{.sum = 0, .greedy = true};
    const auto length = static_cast<std::int64_t>(request.ids.size());
    for (std::int64_t t = length - request.targets; t < length; ++t) {
      const std::int64_t id = request.ids[static_cast<std::size_t>(t)];
      found.sum += logits[t - 1].log_softmax(0)[id].item<double>();
      found.greedy = found.greedy && logits[t - 1].argmax().item<std::int64_t>() == id;
    }
    return found;
  }
  std::int32_t likeliest_behind(const Ids& ids) const {
    const at::NoGradGuard no_grad;
    const model::Batch batch = corda::testing::batch_of(model_, {ids});
    model::PackedAttention attention(batch);
    return static_cast<std::int32_t>(
        model::logits_of(model_, model::forward_hidden(model_, batch, attention))[-1]
            .argmax()
            .item<std::int64_t>());
  }

  const corda::testing::TemporaryDirectory folder_;
  const model::Model model_ = corda::testing::load_tiny_model(folder_.path());
  core::Reporter quiet_;
};

// Four choices behind each of two contexts that begin alike, one of them of a single token, one
// that is what the model itself would say, and a request that shares nothing.
TEST_F(Likelihoods, SharedBeginningsAndSmallBatchesGiveThoseOfEachAlone) {
  Ids stem(20);
  std::iota(stem.begin(), stem.end(), 5);
  std::vector<LikelihoodRequest> requests;
  for (const Ids& context : {Ids{1, 2, 3}, Ids{4, 4}}) {
    Ids before = stem;
    before.insert(before.end(), context.begin(), context.end());
    for (const Ids& choice : {Ids{7}, Ids{8}, Ids{7, 9, 11}, Ids{likeliest_behind(before)}}) {
      Ids ids = before;
      ids.insert(ids.end(), choice.begin(), choice.end());
      requests.push_back({.ids = ids, .targets = static_cast<std::int64_t>(choice.size())});
    }
  }
  requests.push_back({.ids = {9, 8, 7, 6}, .targets = 3});
  for (const std::int64_t batch_tokens : {1, 30, 4096}) {
    const auto found = log_likelihoods(model_, requests, batch_tokens, quiet_);
    ASSERT_EQ(found.size(), requests.size());
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const LogLikelihood expected = alone(requests[i]);
      EXPECT_NEAR(found[i].sum, expected.sum, 1e-5) << i;  // fp32 sums of a few numbers around 5
      EXPECT_EQ(found[i].greedy, expected.greedy) << i;
    }
    EXPECT_TRUE(found[3].greedy);
    EXPECT_TRUE(found[7].greedy);
  }
}

TEST_F(Likelihoods, WhatIsNotFiniteIsAnError) {
  model::Model broken = model_;
  broken.final_norm = at::full_like(broken.final_norm, std::numeric_limits<float>::quiet_NaN());
  EXPECT_THAT(corda::testing::error_of<core::NumericalError>([&] {
                log_likelihoods(broken, {{.ids = {1, 2}, .targets = 1}}, 64, quiet_);
              }),
              ::testing::HasSubstr("a log-likelihood is nan"));
}

}  // namespace
}  // namespace corda::eval
