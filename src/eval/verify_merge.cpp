// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/eval/verify_merge.h"

#include <ATen/ATen.h>

#include "corda/adapter/adapter.h"
#include "corda/core/error.h"
#include "corda/core/random.h"
#include "corda/linalg/device.h"
#include "corda/model/adapt.h"
#include "corda/model/forward.h"

namespace corda::eval {

namespace {

// Few and short, as a wrong weight moves the logits of every token and both models may have to run
// on a CPU. The seed is any fixed number: a second run gives the same figure.
constexpr std::int64_t kSequences = 4;
constexpr std::int64_t kLength = 48;  // tokens
constexpr std::uint64_t kSeed = 20240614;

model::Batch random_batch(const model::ModelDescription& config, at::Device device) {
  core::Random random(kSeed);
  std::vector<std::int32_t> ids, positions, offsets = {0};
  for (std::int64_t i = 0; i < kSequences; ++i) {
    for (std::int64_t t = 0; t < kLength; ++t) {
      ids.push_back(
          static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(config.vocab_size))));
      positions.push_back(static_cast<std::int32_t>(t));
    }
    offsets.push_back(static_cast<std::int32_t>(ids.size()));
  }
  return model::make_batch(ids, positions, offsets, config.vocab_size, device);
}

at::Tensor logits_of_directory(const std::string& directory, const adapter::Adapter* adapter,
                               at::Device device) {
  const at::NoGradGuard no_grad;
  const io::Checkpoint checkpoint(directory);
  core::Reporter quiet;
  model::Model loaded = model::load_model(checkpoint, model::describe_model(checkpoint, quiet),
                                          {.device = device});
  if (adapter != nullptr) model::attach_exported(loaded, *adapter);
  const model::Batch batch = random_batch(loaded.config, device);
  model::PackedAttention attention(batch);
  return model::logits_of(loaded, model::forward_hidden(loaded, batch, attention)).cpu();
}

// Largest difference that one rounding of the merged weights explains. It moves a weight by at most
// 2^-8 (bf16) or 2^-11 (fp16) of itself, each in a direction of its own, so that most of it
// averages out in a product and little is added from layer to layer. In Llamas of random weights
// (2, 8 and 32 layers, 256 and 512 wide; transformers in fp32, every projection rounded and not)
// the logits of 192 tokens moved by 5.0e-3 to 6.9e-3 of the largest in bf16, by 6e-4 to 1.0e-3 in
// fp16, and hardly more with 32 layers than with 2; in the demo's model with a trained LoRA, merged
// here, by 6.0e-3 and 7.6e-4. The limits are five times the worst. With fp32 weights only sums come
// in another order: 1.2e-6 there.
double tolerance_of(const std::string& directory) {
  double tolerance = 1e-4;
  const io::Checkpoint checkpoint(directory);
  for (const auto& name : checkpoint.names()) {
    const io::DType dtype = checkpoint.info(name).dtype;
    if (dtype == io::DType::kF16) tolerance = std::max(tolerance, 5e-3);
    if (dtype == io::DType::kBF16) tolerance = std::max(tolerance, 4e-2);
  }
  return tolerance;
}

}  // namespace

VerifyResult verify_merge(const VerifySettings& settings, core::Reporter& reporter) {
  const at::Device device = linalg::device_of(settings.device);
  const adapter::Adapter adapter = adapter::read_adapter(settings.adapter);
  reporter.info("verifying the merged model against base + adapter");
  const at::Tensor expected = logits_of_directory(settings.model, &adapter, device);
  const at::Tensor merged = logits_of_directory(settings.merged, nullptr, device);
  const VerifyResult result{
      .relative_difference =
          ((merged - expected).abs().max() / expected.abs().max()).item<double>(),
      .tokens = kSequences * kLength};
  const double tolerance = tolerance_of(settings.merged);
  if (!(result.relative_difference <= tolerance)) {
    throw core::NumericalError(
        core::concat("--verify: the merged model's logits differ from base + adapter by ",
                     result.relative_difference, " of the largest, expected at most ", tolerance,
                     "; the merged model was not kept"));
  }
  return result;
}

}  // namespace corda::eval
