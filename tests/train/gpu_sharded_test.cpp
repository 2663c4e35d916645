// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A model in parts on a GPU computes what the whole one computes there.
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include "sharded_model.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"
#include "train/device_batch.h"
#include "train/gradient_pass.h"
#include "train/sharded_pass.h"

namespace corda::train {
namespace {

TEST(GpuSharded, GradientsAndLossesAreThoseOfAutogradOverTheWhole) {
  if (c10::cuda::device_count() == 0) GTEST_SKIP() << "this machine has no usable GPU";
  const corda::testing::TemporaryDirectory folder;
  for (const bool tied : {false, true}) {
    const auto directory = folder.path() / (tied ? "tied" : "untied");
    corda::testing::write_tiny_model(directory, {.vocab = 257,
                                                 .hidden = 256,
                                                 .intermediate = 320,
                                                 .layers = 3,
                                                 .tied = tied,
                                                 .spread = 0.1});
    for (const at::ScalarType compute : {at::kFloat, at::kBFloat16}) {
      const auto load = [&] {
        return model::load_model(io::Checkpoint(directory), model::read_model_config(directory),
                                 {.device = at::kCUDA, .weights = at::kFloat, .compute = compute});
      };
      model::Model whole = load();
      for (auto& [name, tensor] : whole.parameters()) tensor->set_requires_grad(true);
      model::Model split = load();
      const auto parameters = shard(split);
      const auto reference = make_autograd_pass(whole, model::Operations::kKernels);
      const auto pass = make_sharded_pass(split, *parameters, model::Operations::kKernels);
      pass->begin_step();
      for (const data::PackedBatch& batch : two_batches()) {
        const double expected = reference->run(batch, 0.01).item<double>();
        EXPECT_NEAR(pass->run(batch, 0.01).item<double>(), expected, 1e-5 * expected);
      }
      const auto gradients = gradients_of(*parameters);
      for (const auto& [name, tensor] : whole.parameters()) {
        const double scale = tensor->grad().abs().max().item<double>();
        const double off = (gradients.at(name) - tensor->grad()).abs().max().item<double>();
        // The same operations; attention's backward adds in no fixed order, in 16 bits.
        EXPECT_LT(off, (compute == at::kFloat ? 1e-4 : 2e-2) * scale) << name;
      }
    }
  }
}

}  // namespace
}  // namespace corda::train
