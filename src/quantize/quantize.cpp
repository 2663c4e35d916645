// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/quantize/quantize.h"

#include <ATen/ATen.h>

#include <chrono>
#include <optional>

#include "corda/card/card.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"
#include "corda/linalg/device.h"
#include "corda/linalg/require_memory.h"
#include "corda/quant/feedback.h"
#include "corda/quant/write_copy.h"

namespace corda::quantize {

using core::concat;
using kernels::PackedWeight;
using quant::Base;

namespace {

constexpr std::string_view kWeight = ".weight";

std::string module_of(const std::string& name) {
  const std::string canonical = io::Checkpoint::canonical_name(name);
  return canonical.substr(0, canonical.size() - kWeight.size());
}

std::vector<std::string> layers_of(const quant::ModelWeights& weights) {
  std::vector<std::string> layers;
  for (const std::string& name : weights.names()) {
    if (quant::is_block_layer(weights, name)) layers.push_back(name);
  }
  if (layers.empty()) {
    throw core::FormatError(concat("'", weights.directory().string(),
                                   "' has no linear layer of a block (model.layers.N...weight)"));
  }
  return layers;
}

void check_sites(const io::CovarianceReader& covariance, const std::vector<std::string>& layers) {
  std::vector<std::string> missing;
  for (const std::string& name : layers) {
    if (covariance.site_of(module_of(name)).empty()) missing.push_back(module_of(name));
  }
  if (missing.empty()) return;
  throw core::ConfigError(concat("the covariance '", covariance.directory().string(),
                                 "' has nothing for ", core::listed_names(missing),
                                 "; calibrate on all layers (--target-modules all-linear)"));
}

card::Quantisation how_of(const QuantizeSettings& settings) {
  card::Quantisation how{.format = settings.to, .knows_inputs = !settings.covariance.empty()};
  if (how.knows_inputs) how.data = card::start_of(settings.covariance).data;
  return how;
}

// Of one layer at a time a covariance, with it the values in fp32, and the codes are in memory.
void require_memory(const quant::ModelWeights& weights, const std::vector<std::string>& layers,
                    bool with_covariance, Base to) {
  std::int64_t most = 0;
  for (const std::string& name : layers) {
    const auto& shape = weights.info(name).shape;
    std::int64_t bytes = shape[0] * shape[1] / (to == Base::kNf4 ? 2 : 1);
    if (with_covariance)
      bytes += static_cast<std::int64_t>(sizeof(float)) * shape[1] * (shape[0] + shape[1]);
    most = std::max(most, bytes);
  }
  linalg::require_memory(at::kCPU, "the largest layer", most, "use a machine with more memory");
}

// Programs that read tiles of 128 x 128 expect whole ones, or a single one.
bool has_broken_tile(std::int64_t size) { return size > quant::kTile && size % quant::kTile != 0; }

void warn_of_broken_tiles(const quant::ModelWeights& weights,
                          const std::vector<std::string>& layers, core::Reporter& reporter) {
  std::int64_t count = 0;
  std::string first;
  for (const std::string& name : layers) {
    const auto& shape = weights.info(name).shape;
    if (!has_broken_tile(shape[0]) && !has_broken_tile(shape[1])) continue;
    if (count++ == 0) first = concat("'", module_of(name), "' [", shape[0], ", ", shape[1], "]");
  }
  if (count == 0) return;
  reporter.warn(concat(count, " layers, the first ", first,
                       ", are no multiples of 128: transformers refuses float8 tiles of such "
                       "sizes, and vLLM reads them with wrong scales; corda reads them. For other "
                       "programs take --to nf4"));
}

at::Tensor values_of(const PackedWeight& packed) {
  at::Tensor values = at::empty({packed.rows, packed.columns}, at::kFloat);
  kernels::dequantise(values, packed);
  return values;
}

}  // namespace

core::SettingsList settings_of(QuantizeSettings& s) {
  core::SettingsList list;
  list.add("model", s.model, core::kModelHelp).path(core::PathKind::kModel).required();
  list.add("to", s.to,
           "nf4: 4 bits as bitsandbytes, nested absmax; fp8: float8, tiles of 128 x 128",
           {"nf4", "fp8"})
      .required();
  list.add("out", s.out, "model directory to write").path().required();
  list.add("covariance", s.covariance,
           "covariance directory of `corda calibrate` on this model: rounding passes its error on "
           "to "
           "the inputs that can make it good; empty: to the nearest")
      .path();
  list.add("damping", s.damping, "of --covariance: c of C + c mean(diag C) I", {1e-6, 10});
  list.add("threads", s.threads, "CPU threads; 0: all", {0, 4096});
  return list;
}

QuantizeResult quantize(const QuantizeSettings& settings, core::Reporter& reporter) {
  const auto begin = std::chrono::steady_clock::now();
  QuantizeSettings resolved = settings;
  settings_of(resolved).check_values();
  if (resolved.covariance.empty()) {
    QuantizeSettings untouched;
    core::refuse_changed(settings_of(resolved), settings_of(untouched), {"damping"},
                         "for --covariance, which is not given");
  }
  linalg::set_threads(settings.threads);
  core::AtomicDirectory directory(settings.out);
  const quant::ModelWeights weights = quant::open_model(settings.model, reporter);
  const Base to = quant::base_named(settings.to);
  const std::vector<std::string> layers = layers_of(weights);
  std::optional<io::CovarianceReader> covariance;
  if (!settings.covariance.empty()) {
    covariance = quant::covariance_for(settings.covariance, weights.fingerprint());
    check_sites(*covariance, layers);
  }
  require_memory(weights, layers, covariance.has_value(), to);
  if (to == Base::kFloat8) warn_of_broken_tiles(weights, layers, reporter);
  QuantizeResult result{.layers = static_cast<std::int64_t>(layers.size())};
  const auto count = static_cast<double>(layers.size());
  const auto content = [&](const std::string& name) {
    core::throw_if_stopped(reporter, "quantising");
    const at::Tensor weight = weights.view(name);
    PackedWeight packed =
        to == Base::kNf4 ? quant::quantise_nf4(weight) : quant::quantise_float8(weight);
    if (covariance) {
      const at::Tensor c = covariance->load(covariance->site_of(module_of(name)));
      const at::Tensor wide = weight.to(at::kFloat);
      result.plain_error += quant::output_error(wide, values_of(packed), c) / count;
      packed = quant::quantise(weight, to, c, settings.damping);
      result.output_error += quant::output_error(wide, values_of(packed), c) / count;
    }
    weights.forget(name);
    reporter.advance(1, module_of(name));
    return packed;
  };
  reporter.begin("quantise", result.layers, "layer");
  const io::RewriteResult written =
      quant::write_quantised(weights, directory.staging(), to, content);
  reporter.end();
  core::write_settings(directory.staging(), settings_of(resolved));
  card::write(directory.staging(),
              card::text_of_quantised(card::base_of(settings.model), how_of(settings)));
  directory.commit();
  result.shards = written.shards;
  result.bytes = written.bytes;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

}  // namespace corda::quantize
