// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The forgetting gauge of a calibration against a pass over the samples that it was made of.
#include "corda/adapter/forgetting.h"

#include <gtest/gtest.h>

#include <cmath>

#include "corda/adapter/initialise.h"
#include "corda/model/forward.h"
#include "covariance/stream_helpers.h"
#include "support/random_tensor.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::covariance {
namespace {

// Sums over all tokens.
struct Passed {
  double change = 0;
  double inputs = 0;
};

TEST(ForgettingOfACalibration, IsTheShareOfThePassOverItsSamples) {
  const corda::testing::TemporaryDirectory scratch;
  const model::Model model = corda::testing::load_tiny_model(scratch.path() / "model");
  const Draw draw = testing::tiny_draw(96);
  const auto found = testing::stream(scratch.path() / "model", {draw},
                                     {.activation_scaling = ActivationScaling::kNone});

  std::map<std::string, adapter::LayerAdapter> updates;
  for (const model::Linear* linear : model.linear_layers()) {
    auto& layer = updates[linear->name];
    layer = adapter::initialise_lora(linear->weight.size(0), linear->weight.size(1), 4, 1,
                                     linear->name);
    layer.b = corda::testing::random_tensor(layer.b.sizes(), 9);
  }
  std::map<std::string, Passed> passed;
  const at::NoGradGuard no_grad;
  const auto sites = model::sites_of(model.config);
  for (const auto& packed : draw.batches) {
    const model::Batch batch = model::make_batch(packed.ids, packed.positions, packed.cu_seqlens,
                                                 model.config.vocab_size, at::kCPU);
    model::PackedAttention attention(batch);
    model::forward_hidden(
        model, batch, attention, [&](const std::string& name, const at::Tensor& x) {
          for (const auto& site : sites) {
            if (site.name != name) continue;
            for (const std::string& module : site.modules) {
              const at::Tensor moved = at::mm(x, adapter::update_of(updates.at(module), 2).t());
              passed[module].change += moved.square().sum(at::kDouble).item<double>();
              passed[module].inputs += x.square().sum(at::kDouble).item<double>();
            }
          }
        });
  }
  ASSERT_EQ(passed.size(), 14U);
  for (const auto& site : sites) {
    for (const std::string& module : site.modules) {
      const double gauge = adapter::forgetting_of(adapter::exported_factors(updates.at(module)), 2,
                                                  found[0].covariances.at(site.name))
                               .gauge();
      const double expected = std::sqrt(passed[module].change / passed[module].inputs);
      EXPECT_NEAR(gauge, expected, 1e-5 * expected) << module;  // sums of 119 tokens in fp32
    }
  }
}

}  // namespace
}  // namespace corda::covariance
