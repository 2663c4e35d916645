// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "calibrate/gradients.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "calibrate/job.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/refuse_changed.h"
#include "corda/core/room.h"
#include "corda/core/work_directory.h"
#include "corda/covariance/draw.h"
#include "corda/covariance/estimate.h"
#include "corda/covariance/gradients.h"
#include "corda/data/load.h"
#include "corda/io/covariance_store.h"
#include "corda/kernels/pack_lower.h"
#include "corda/linalg/device.h"
#include "corda/linalg/out_of_memory.h"
#include "corda/linalg/require_memory.h"
#include "corda/linalg/warm_up.h"
#include "corda/model/config.h"
#include "corda/model/model.h"
#include "corda/model/sites.h"
#include "corda/quant/model_weights.h"

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

void require_disk(const CalibrateSettings& settings, const model::ModelDescription& config) {
  const bool packed = io::covariance_storage_of(settings.storage) == io::CovarianceStorage::kPacked;
  std::int64_t bytes = 0;
  for (const auto& site : model::sites_of(config))
    bytes += covariance::bytes_on_disk(site.in_features, packed);
  core::require_disk_space(settings.out, bytes, "the Gram matrices of the gradients");
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

void write(const CalibrateSettings& settings, const std::string& fingerprint,
           const CalibrateResult& result, const model::ModelDescription& config,
           covariance::Grams grams) {
  const auto storage = io::covariance_storage_of(settings.storage);
  io::CovarianceWriter writer(settings.out, storage);
  for (const auto& site : model::sites_of(config)) {
    const at::Tensor gram = std::exchange(grams.at(site.name), {});
    const bool packed = storage == io::CovarianceStorage::kPacked;
    writer.add(site.name, site.modules, result.tokens,
               (packed ? kernels::pack_lower(gram) : gram).cpu());
  }
  finish(settings, fingerprint, result.samples, result.tokens, writer);
}

// Refuses what only covariances of inputs look at. A scaling of none is what is done.
void refuse_settings_of_inputs(CalibrateSettings settings) {
  if (settings.activation_scaling == "none") settings.activation_scaling = "auto";
  core::refuse_changed(settings, settings_of,
                       {"qa_text", "activation_scaling", "hidden_states", "center"},
                       "for --of inputs");
}

}  // namespace

CalibrateResult calibrate_gradients(CalibrateSettings settings, core::Reporter& reporter,
                                    dist::World& world) {
  const auto begin = std::chrono::steady_clock::now();
  refuse_settings_of_inputs(settings);
  settings.activation_scaling = "none";
  if (settings.date.empty()) settings.date = world.shared(data::today());
  settings.threads = world.threads(settings.threads);
  linalg::set_threads(settings.threads);
  if (world.is_first()) {
    core::AtomicDirectory(settings.out);  // fails at once where the output cannot be written
    core::refuse_foreign_work(settings.out);
  }
  const at::Device device = world.device_of(settings.device);
  world.connect();
  const linalg::WarmUp warm_up(device, linalg::WarmUpOf::kProducts);
  const quant::ModelWeights weights = quant::open_model(settings.model, reporter);
  const model::ModelDescription config =
      model::describe_model(weights, reporter, settings.assume_family);
  settings.seq_len = model::window_tokens(config, settings.seq_len, reporter);
  const data::SampleStore samples =
      covariance::training_samples(settings, settings.data, settings.model, config, reporter);
  std::vector<GradientBatch> batches = covariance::gradient_batches(
      samples, settings.samples, settings.gradient_batch, settings.batch_tokens,
      static_cast<std::uint64_t>(settings.seed));
  CalibrateResult result{.samples = std::min(settings.samples, samples.size()),
                         .sites = static_cast<std::int64_t>(model::sites_of(config).size())};
  for (const auto& batch : batches)
    for (const auto& part : batch.parts) result.tokens += part.tokens();
  const std::string fingerprint = weights.fingerprint();
  const at::ScalarType compute = linalg::dtype_of(settings.dtype, device);
  dist::require_same_job(world,
                         made_with(settings, fingerprint, samples.fingerprint(), device, compute));
  require_memory(config, device, compute);
  if (world.is_first()) require_disk(settings, config);
  batches = own_batches(std::move(batches), world);
  model::Model model = model::load_model(
      weights, config, {.device = device, .weights = at::kFloat, .compute = compute});
  reporter.begin("calibrate", static_cast<std::int64_t>(batches.size()), "gradient");
  covariance::Grams grams = collect(model, batches, reporter);
  reporter.end();
  for (const auto& [name, gram] : grams) world.sum_to(gram, 0);
  if (world.is_first()) {
    covariance::require_finite(grams);
    write(settings, fingerprint, result, config, std::move(grams));
  }
  world.barrier();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  result.seconds = elapsed.count();
  result.peak_memory_bytes = linalg::peak_memory_bytes(device);
  return result;
}

}  // namespace corda::calibrate
