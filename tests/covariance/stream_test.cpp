// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Streaming a model block by block against running it whole.
#include "corda/covariance/stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/model/forward.h"
#include "covariance/accumulator.h"
#include "covariance/stream_helpers.h"
#include "support/captured_log.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::covariance {
namespace {

using ::corda::covariance::testing::stream;
using ::corda::covariance::testing::tiny_draw;
using ::corda::testing::TemporaryDirectory;

class Stream : public ::testing::Test {
 protected:
  Stream() { model_ = corda::testing::load_tiny_model(scratch_.path() / "model", {.layers = 3}); }

  std::map<std::string, at::Tensor> whole(const Draw& draw) const {
    const at::NoGradGuard no_grad;
    std::map<std::string, CovarianceAccumulator> sums;
    for (const auto& site : model::sites_of(model_.config))
      sums.try_emplace(site.name, site.in_features, true, at::kCPU);
    for (const auto& packed : draw.batches) {
      const model::Batch batch = model::make_batch(packed.ids, packed.positions, packed.cu_seqlens,
                                                   model_.config.vocab_size, at::kCPU);
      model::PackedAttention attention(batch);
      model::forward_hidden(model_, batch, attention,
                            [&](const std::string& site, const at::Tensor& x) {
                              sums.at(site).add(x, batch.offsets);
                            });
    }
    std::map<std::string, at::Tensor> result;
    for (auto& [name, sum] : sums) result[name] = sum.finish();
    return result;
  }

  TemporaryDirectory scratch_;
  model::Model model_;
};

TEST(StreamOptions, EveryWordOfTheSettingsIsTaken) {
  DrawSettings settings;
  core::SettingsList list;
  add_draw_settings(list, settings);
  const std::map<std::string, HiddenStatesPlace> places = {{"auto", HiddenStatesPlace::kAuto},
                                                           {"device", HiddenStatesPlace::kDevice},
                                                           {"host", HiddenStatesPlace::kHost}};
  ASSERT_EQ(list.find("hidden_states")->choices.size(), places.size());
  for (const std::string& word : list.find("hidden_states")->choices) {
    settings.hidden_states = word;
    EXPECT_EQ(stream_options(settings, at::kCPU).hidden_states, places.at(word)) << word;
  }
  ASSERT_EQ(list.find("activation_scaling")->choices.size(), 3U);
  for (const std::string& word : list.find("activation_scaling")->choices) {
    settings.activation_scaling = word;
    EXPECT_EQ(stream_options(settings, at::kCPU).activation_scaling,
              word == "none" ? ActivationScaling::kNone : ActivationScaling::kReference);
  }
}

TEST_F(Stream, CovariancesEqualThoseOfTheWholeModel) {
  const Draw first = tiny_draw(96);
  const Draw second = tiny_draw(96, 4);
  const auto found = stream(scratch_.path() / "model", {first, second}, {});
  EXPECT_EQ(found[0].blocks, (std::vector<std::int64_t>{0, 1, 2}));
  for (const auto& [draw, streamed] :
       {std::pair(&first, &found[0]), std::pair(&second, &found[1])}) {
    const auto expected = whole(*draw);
    ASSERT_EQ(streamed->covariances.size(), 12U);
    for (const auto& [site, covariance] : expected)
      EXPECT_TRUE(at::equal(streamed->covariances.at(site), covariance)) << site;
  }
}

// Both scalings; a site's inputs of all batches stand below each other in fp64.
TEST_F(Stream, CentredCovariancesAreThoseOfInputsLessTheirMean) {
  const at::NoGradGuard no_grad;
  const Draw draw = tiny_draw(96);
  std::map<std::string, std::vector<at::Tensor>> inputs;
  std::map<std::string, std::vector<at::Tensor>> scaled;
  for (const auto& packed : draw.batches) {
    const model::Batch batch = model::make_batch(packed.ids, packed.positions, packed.cu_seqlens,
                                                 model_.config.vocab_size, at::kCPU);
    model::PackedAttention attention(batch);
    model::forward_hidden(
        model_, batch, attention, [&](const std::string& site, const at::Tensor& x) {
          inputs[site].push_back(x.to(at::kDouble));
          for (std::size_t i = 0; i + 1 < batch.offsets.size(); ++i) {
            const at::Tensor sample = x.slice(0, batch.offsets[i], batch.offsets[i + 1]);
            scaled[site].push_back((sample / sample.max()).to(at::kDouble));
          }
        });
  }
  for (const auto scaling : {ActivationScaling::kNone, ActivationScaling::kReference}) {
    const bool scales = scaling == ActivationScaling::kReference;
    const auto found =
        stream(scratch_.path() / "model", {draw}, {.activation_scaling = scaling, .center = true});
    ASSERT_EQ(found[0].covariances.size(), 12U);
    for (const auto& [site, covariance] : found[0].covariances) {
      const at::Tensor x = at::cat((scales ? scaled : inputs).at(site));
      const at::Tensor less = x - x.mean(0);
      const at::Tensor expected = at::mm(less.t(), less) / (scales ? 7.0 : 1.0);
      const at::Tensor whole = at::mm(x.t(), x) / (scales ? 7.0 : 1.0);
      EXPECT_GT(((whole - expected).norm() / expected.norm()).item<double>(), 1e-2)
          << site << " has no mean";
      // Sums of 119 tokens in fp32.
      EXPECT_LT(((covariance - expected).norm() / expected.norm()).item<double>(), 1e-6) << site;
    }
  }
}

// Of one token again and again every input is the same.
TEST_F(Stream, WhatTheMeanDrownsIsSaid) {
  Draw draw;
  const std::vector<tokenizer::TokenId> ids(9, 5);
  data::append(draw.batches.emplace_back(), std::span<const tokenizer::TokenId>(ids));
  draw.samples = 1;
  draw.tokens = 9;
  const auto said = [&](const Draw& of, bool center) {
    CapturedLog log;
    const auto ignore = [](std::int64_t, const model::Block&, std::vector<BlockCovariances>&) {};
    stream_blocks(io::Checkpoint(scratch_.path() / "model"),
                  model::read_model_config(scratch_.path() / "model"), {of},
                  {.activation_scaling = ActivationScaling::kNone, .center = center}, ignore, log);
    return log.text;
  };
  EXPECT_THAT(said(draw, true),
              ::testing::HasSubstr("warning: the inputs of 12 sites (the first: "
                                   "model.layers.0.self_attn.input) vary by less than 1 % of "
                                   "their mean"));
  EXPECT_THAT(said(draw, false), ::testing::Not(::testing::HasSubstr("vary by less")));
  EXPECT_THAT(said(tiny_draw(96), true), ::testing::Not(::testing::HasSubstr("vary by less")));
}

TEST_F(Stream, UnwantedSitesAreLeftOutAndChangeNothing) {
  const Draw draw = tiny_draw(96);
  const std::vector<std::string> wanted = {"model.layers.1.mlp.input",
                                           "model.layers.1.self_attn.input"};
  const auto found = stream(
      scratch_.path() / "model", {draw},
      {.wanted = [&](const std::string& site) { return site == wanted[0] || site == wanted[1]; }});
  EXPECT_EQ(found[0].blocks, (std::vector<std::int64_t>{1}));
  ASSERT_EQ(found[0].covariances.size(), 2U);
  const auto expected = whole(draw);
  for (const auto& site : wanted)
    EXPECT_TRUE(at::equal(found[0].covariances.at(site), expected.at(site))) << site;
}

TEST(Draw, FingerprintTellsTextsApartButNotBatches) {
  Draw joined = testing::tiny_draw(96);
  Draw alone = joined;
  alone.batches.clear();
  for (const auto& batch : joined.batches) {
    for (std::size_t i = 0; i + 1 < batch.cu_seqlens.size(); ++i) {
      alone.batches.emplace_back();
      const auto begin = static_cast<std::size_t>(batch.cu_seqlens[i]);
      const auto end = static_cast<std::size_t>(batch.cu_seqlens[i + 1]);
      data::append(alone.batches.back(),
                   std::span<const tokenizer::TokenId>(batch.ids).subspan(begin, end - begin));
    }
  }
  EXPECT_EQ(alone.fingerprint(), joined.fingerprint());
  ++alone.batches[2].ids[3];
  EXPECT_NE(alone.fingerprint(), joined.fingerprint());
}

}  // namespace
}  // namespace corda::covariance
