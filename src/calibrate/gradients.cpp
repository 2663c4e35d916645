// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "calibrate/gradients.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "corda/core/error.h"
#include "corda/core/refuse_changed.h"
#include "corda/core/room.h"
#include "corda/covariance/draw.h"
#include "corda/covariance/estimate.h"
#include "corda/covariance/gradients.h"
#include "corda/io/covariance_store.h"
#include "corda/kernels/pack_lower.h"
#include "corda/linalg/out_of_memory.h"
#include "corda/linalg/require_memory.h"
#include "corda/model/model.h"
#include "corda/model/sites.h"

namespace corda::calibrate {

using covariance::GradientBatch;

namespace {

// Every `ranks`-th batch.
std::vector<GradientBatch> own_batches(std::vector<GradientBatch> all, const dist::World& world) {
  std::vector<GradientBatch> own;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (static_cast<int>(i % static_cast<std::size_t>(world.size())) == world.rank())
      own.push_back(std::move(all[i]));
  }
  return own;
}

// What is there whatever the batch: the weights in fp32, the layers' gradients and, where that is
// another type, their copies in the compute type, and the sums.
void require_memory(const model::ModelDescription& config, at::Device device,
                    at::ScalarType compute) {
  const auto fp32 = static_cast<std::int64_t>(sizeof(float));
  std::int64_t bytes = 0;
  std::set<std::string> weights;
  for (const auto& site : model::sites_of(config)) {
    bytes += fp32 * site.in_features * site.in_features;
    for (const std::string& module : site.modules) weights.insert(module + ".weight");
  }
  for (const auto& [name, shape] : model::expected_tensors(config)) {
    const std::int64_t elements = c10::multiply_integers(shape);
    bytes += fp32 * elements;
    if (!weights.contains(name)) continue;
    bytes += fp32 * elements;
    if (compute != at::kFloat)
      bytes += static_cast<std::int64_t>(c10::elementSize(compute)) * elements;
  }
  linalg::require_memory(device, "the model in fp32, its gradients and their Gram matrices", bytes,
                         "use a device with more free memory (--device)");
}

void require_disk(const Job& job) {
  std::int64_t bytes = 0;
  for (const auto& site : model::sites_of(job.config))
    bytes += covariance::bytes_on_disk(site.in_features, is_packed(job.settings));
  core::require_disk_space(job.settings.out, bytes, "the Gram matrices of the gradients");
}

// Activations of a whole batch are kept for the backward, which is known too late to be planned.
covariance::Grams collect(model::Model& model, const std::vector<GradientBatch>& batches,
                          core::Reporter& reporter) {
  try {
    return covariance::gradient_grams(model, batches, reporter);
  } catch (const std::exception& error) {
    const auto out = linalg::out_of_memory(error);
    if (!out) throw;
    throw core::ResourceError(
        core::concat(out->memory,
                     " does not hold the model with its gradients and a batch's activations; lower "
                     "--batch-tokens or use a device with more free memory (",
                     out->detail, ")"));
  }
}

void write(const Job& job, const CalibrateResult& result, covariance::Grams grams) {
  io::CovarianceWriter writer(job.settings.out, io::covariance_storage_of(job.settings.storage));
  for (const auto& site : model::sites_of(job.config)) {
    const at::Tensor gram = std::exchange(grams.at(site.name), {});
    writer.add(site.name, site.modules, result.tokens,
               (is_packed(job.settings) ? kernels::pack_lower(gram) : gram).cpu());
  }
  finish(job, result.samples, result.tokens, writer);
}

}  // namespace

void refuse_settings_of_inputs(CalibrateSettings settings) {
  // A scaling of none is what is done.
  if (settings.activation_scaling == "none") settings.activation_scaling = "auto";
  core::refuse_changed(settings, settings_of,
                       {"qa_text", "activation_scaling", "hidden_states", "center"},
                       "for --of inputs");
}

CalibrateResult calibrate_gradients(const Job& job, core::Reporter& reporter, dist::World& world) {
  const CalibrateSettings& settings = job.settings;
  const data::SampleStore samples =
      covariance::training_samples(settings, settings.data, settings.model, job.config, reporter);
  std::vector<GradientBatch> batches = covariance::gradient_batches(
      samples, settings.samples, settings.gradient_batch, settings.batch_tokens,
      static_cast<std::uint64_t>(settings.seed));
  CalibrateResult result{.samples = std::min(settings.samples, samples.size()),
                         .sites = static_cast<std::int64_t>(model::sites_of(job.config).size())};
  for (const auto& batch : batches)
    for (const auto& part : batch.parts) result.tokens += part.tokens();
  dist::require_same_job(world, made_with(job, samples.fingerprint()));
  require_memory(job.config, job.device, job.dtype);
  if (world.is_first()) require_disk(job);
  batches = own_batches(std::move(batches), world);
  model::Model model = model::load_model(
      job.weights, job.config, {.device = job.device, .weights = at::kFloat, .compute = job.dtype});
  reporter.begin("calibrate", static_cast<std::int64_t>(batches.size()), "gradient");
  covariance::Grams grams = collect(model, batches, reporter);
  reporter.end();
  for (const auto& [name, gram] : grams) world.sum_to(gram, 0);
  if (world.is_first()) {
    covariance::require_finite(grams);
    write(job, result, std::move(grams));
  }
  return result;
}

}  // namespace corda::calibrate
