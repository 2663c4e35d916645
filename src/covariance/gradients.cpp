// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/covariance/gradients.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/random.h"
#include "corda/model/forward.h"
#include "corda/model/sites.h"

namespace corda::covariance {

namespace {

// The weights of the blocks' linear layers, as leaves that have gradients while it lives.
class Leaves {
 public:
  explicit Leaves(model::Model& model) {
    for (model::Linear* linear : model.linear_layers()) {
      if (!linear->weight.defined() || linear->packed != nullptr)
        throw core::InternalError("[covariance::gradient_grams] a layer without a dense weight");
      linear->weight.set_requires_grad(true);
      weights_[linear->name] = linear->weight;
    }
  }
  Leaves(const Leaves&) = delete;
  Leaves& operator=(const Leaves&) = delete;
  ~Leaves() {
    for (auto& [name, weight] : weights_) {
      weight.mutable_grad() = at::Tensor();
      weight.set_requires_grad(false);
    }
  }

  // The gradient that was added up, which starts at zero again; undefined where there was none.
  at::Tensor take(const std::string& module) {
    at::Tensor& gradient = weights_.at(module).mutable_grad();
    return std::exchange(gradient, at::Tensor());
  }

 private:
  std::map<std::string, at::Tensor> weights_;
};

void differentiate(const model::Model& model, const GradientBatch& batch) {
  const auto operations =
      model.device().is_cuda() ? model::Operations::kKernels : model::Operations::kAten;
  for (const data::PackedBatch& part : batch.parts) {
    if (part.targets() == 0) continue;
    const model::Batch rows =
        model::make_batch(part.ids, part.positions, part.cu_seqlens, model.config.vocab_size,
                          model.device(), part.target_rows, part.target_ids);
    const at::Tensor loss = model::loss_sum(model, rows, operations);
    (loss / static_cast<double>(batch.targets)).backward();
  }
}

}  // namespace

std::vector<GradientBatch> gradient_batches(const data::SampleStore& samples, std::int64_t count,
                                            std::int64_t batch_size, std::int64_t part_tokens,
                                            std::uint64_t seed) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(samples.size()));
  std::iota(order.begin(), order.end(), 0);
  core::Random random(seed);
  core::shuffle(order, random);
  count = std::min(count, samples.size());
  std::vector<GradientBatch> batches;
  for (std::int64_t begin = 0; begin < count; begin += batch_size) {
    const std::int64_t end = std::min(begin + batch_size, count);
    std::vector<data::Sample> taken;
    for (std::int64_t i = begin; i < end; ++i)
      taken.push_back(samples[order[static_cast<std::size_t>(i)]]);
    std::vector<const data::Sample*> pointers;
    for (const data::Sample& sample : taken) pointers.push_back(&sample);
    GradientBatch batch;
    batch.parts = data::make_micro_batches(pointers, part_tokens, /*packing=*/true);
    for (const data::PackedBatch& part : batch.parts) batch.targets += part.targets();
    batches.push_back(std::move(batch));
  }
  return batches;
}

Grams gradient_grams(model::Model& model, const std::vector<GradientBatch>& batches,
                     core::Reporter& reporter) {
  const std::vector<model::Site> sites = model::sites_of(model.config);
  Grams grams;
  const auto fp32 = at::TensorOptions().dtype(at::kFloat).device(model.device());
  for (const model::Site& site : sites)
    grams[site.name] = at::zeros({site.in_features, site.in_features}, fp32);
  Leaves leaves(model);
  for (const GradientBatch& batch : batches) {
    core::throw_if_stopped(reporter, "collecting gradients");
    differentiate(model, batch);
    const at::NoGradGuard no_grad;
    for (const model::Site& site : sites) {
      for (const std::string& module : site.modules) {
        const at::Tensor gradient = leaves.take(module);
        if (!gradient.defined()) continue;
        const at::Tensor g = gradient.to(at::kFloat);
        grams.at(site.name).addmm_(g.t(), g);
      }
    }
    reporter.advance(1, "");
  }
  return grams;
}

void require_finite(const Grams& grams) {
  for (const auto& [name, gram] : grams) {
    if (gram.isfinite().all().item<bool>()) continue;
    throw core::NumericalError(core::concat(
        name,
        ": the gradients are not finite; try --dtype fp32, and look at the model's loss on "
        "the data (corda eval --task perplexity)"));
  }
}

}  // namespace corda::covariance
