// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "calibrate/gradients.h"

#include <ATen/ATen.h>

#include <chrono>
#include <map>
#include <vector>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/refuse_changed.h"
#include "corda/covariance/draw.h"
#include "corda/covariance/gradients.h"
#include "corda/data/load.h"
#include "corda/io/covariance_store.h"
#include "corda/kernels/pack_lower.h"
#include "corda/linalg/device.h"
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

// The weights in fp32, the gradients of those that are differentiated, and the sums.
void require_memory(const model::ModelDescription& config, at::Device device) {
  std::int64_t elements = 0;
  for (const auto& [name, shape] : model::expected_tensors(config))
    elements += 2 * c10::multiply_integers(shape);
  for (const auto& site : model::sites_of(config)) elements += site.in_features * site.in_features;
  linalg::require_memory(device, "the model in fp32, its gradients and their Gram matrices",
                         elements * static_cast<std::int64_t>(sizeof(float)),
                         "use a device with more free memory (--device)");
}

void write(const CalibrateSettings& settings, const std::string& fingerprint, std::int64_t samples,
           std::int64_t tokens, const model::ModelDescription& config,
           std::map<std::string, at::Tensor> grams) {
  const auto storage = io::covariance_storage_of(settings.storage);
  io::CovarianceWriter writer(settings.out, storage);
  for (const auto& site : model::sites_of(config)) {
    const at::Tensor gram = std::exchange(grams.at(site.name), {});
    writer.add(
        site.name, site.modules, tokens,
        storage == io::CovarianceStorage::kPacked ? kernels::pack_lower(gram).cpu() : gram.cpu());
  }
  CalibrateSettings copy = settings;
  const core::SettingsList resolved = settings_of(copy);
  core::write_settings(writer.staging(), resolved);
  writer.finish({.model = fingerprint,
                 .model_name = settings.model,
                 .tokens = tokens,
                 .samples = samples,
                 .activation_scaling = settings.activation_scaling,
                 .of_gradients = true,
                 .settings = resolved.resolved(),
                 .sites = {}});
}

}  // namespace

CalibrateResult calibrate_gradients(CalibrateSettings settings, core::Reporter& reporter,
                                    dist::World& world) {
  const auto begin = std::chrono::steady_clock::now();
  core::refuse_changed(settings, settings_of,
                       {"qa_text", "activation_scaling", "hidden_states", "center"},
                       "for --of inputs");
  settings.activation_scaling = "none";
  if (settings.date.empty()) settings.date = world.shared(data::today());
  settings.threads = world.threads(settings.threads);
  linalg::set_threads(settings.threads);
  if (world.is_first()) core::AtomicDirectory(settings.out);  // fails at once where it must
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
  CalibrateSettings copy = settings;
  dist::require_same_job(world, settings_of(copy).binding());
  require_memory(config, device);
  batches = own_batches(std::move(batches), world);
  model::Model model = model::load_model(weights, config,
                                         {.device = device,
                                          .weights = at::kFloat,
                                          .compute = linalg::dtype_of(settings.dtype, device)});
  reporter.begin("calibrate", static_cast<std::int64_t>(batches.size()), "gradient");
  auto grams = covariance::gradient_grams(model, batches, reporter);
  reporter.end();
  for (const auto& [name, gram] : grams) world.sum_to(gram, 0);
  if (world.is_first())
    write(settings, fingerprint, result.samples, result.tokens, config, std::move(grams));
  world.barrier();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  result.seconds = elapsed.count();
  result.peak_memory_bytes = linalg::peak_memory_bytes(device);
  return result;
}

}  // namespace corda::calibrate
