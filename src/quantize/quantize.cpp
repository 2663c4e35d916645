// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/quantize/quantize.h"

#include <ATen/ATen.h>

#include <chrono>
#include <optional>

#include "corda/card/card.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/refuse_changed.h"
#include "corda/core/text.h"
#include "corda/linalg/device.h"
#include "corda/linalg/require_memory.h"
#include "corda/quant/feedback.h"
#include "corda/quant/write_copy.h"

namespace corda::quantize {

using core::concat;
using kernels::PackedWeight;
using quant::Base;
using quant::Scales;

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

card::Quantisation how_of(const QuantizeSettings& settings, quant::Format format) {
  card::Quantisation how{.format = settings.to,
                         .scale_a_row = format.scales == Scales::kChannel,
                         .knows_inputs = !settings.covariance.empty()};
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

// The layers that tiles of 128 x 128 do not cover whole, in words; "" for none. A narrow layer is
// one of them: vLLM puts the scales of q, k and v into one grid, in which each has whole rows.
std::string broken_tiles(const quant::ModelWeights& weights,
                         const std::vector<std::string>& layers) {
  std::int64_t count = 0;
  std::string first;
  for (const std::string& name : layers) {
    const auto& shape = weights.info(name).shape;
    if (shape[0] % quant::kTile == 0 && shape[1] % quant::kTile == 0) continue;
    if (count++ == 0) first = concat("'", module_of(name), "' [", shape[0], ", ", shape[1], "]");
  }
  if (count == 0) return "";
  return concat("the sides of ", count, count == 1 ? " layer, " : " layers, the first ", first,
                ", are no multiples of 128");
}

// Which scales the layers get, after a word about them where one is due.
quant::Format format_of(const QuantizeSettings& settings, const quant::ModelWeights& weights,
                        const std::vector<std::string>& layers, core::Reporter& reporter) {
  quant::Format format{.base = quant::base_named(settings.to)};
  if (format.base == Base::kNf4) {
    if (settings.scales == "auto") return format;
    throw core::ConfigError("--scales is for --to fp8; nf4 has a scale for every 64 values");
  }
  const std::string broken = broken_tiles(weights, layers);
  if (settings.scales == "channel" || (settings.scales == "auto" && !broken.empty()))
    format.scales = Scales::kChannel;
  if (broken.empty() || settings.scales == "channel") return format;
  if (settings.scales == "auto") {
    reporter.info(concat(broken,
                         ", so float8 has a scale a row in place of one a tile of 128 x "
                         "128 (--scales channel)"));
  } else {
    reporter.warn(concat(broken,
                         ": transformers refuses float8 tiles of such sizes, and vLLM "
                         "reads them with wrong scales; corda reads them. For other "
                         "programs take --scales channel"));
  }
  return format;
}

}  // namespace

core::SettingsList settings_of(QuantizeSettings& s) {
  core::SettingsList list;
  list.add("model", s.model, core::kModelHelp).path(core::PathKind::kModel).required();
  list.add("to", s.to,
           "nf4: 4 bits as bitsandbytes, nested absmax; fp8: float8 e4m3 with the scales of "
           "--scales",
           {"nf4", "fp8"})
      .required();
  list.add("scales", s.scales,
           "of fp8: block, one a tile of 128 x 128 (transformers' fp8, vLLM); channel, one a row "
           "(compressed-tensors, vLLM); auto: block where every side is a multiple of 128, as "
           "programs that read tiles want it, else channel",
           {"auto", "block", "channel"});
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
    core::refuse_changed(resolved, settings_of, {"damping"},
                         "for --covariance, which is not given");
  }
  linalg::set_threads(settings.threads);
  core::AtomicDirectory directory(settings.out);
  const quant::ModelWeights weights = quant::open_model(settings.model, reporter);
  const std::vector<std::string> layers = layers_of(weights);
  const quant::Format to = format_of(settings, weights, layers, reporter);
  if (to.base == Base::kFloat8)
    resolved.scales = to.scales == Scales::kChannel ? "channel" : "block";
  std::optional<io::CovarianceReader> covariance;
  if (!settings.covariance.empty()) {
    covariance = quant::covariance_for(settings.covariance, weights.fingerprint());
    check_sites(*covariance, layers);
  }
  require_memory(weights, layers, covariance.has_value(), to.base);
  QuantizeResult result{.layers = static_cast<std::int64_t>(layers.size())};
  const auto count = static_cast<double>(layers.size());
  const auto content = [&](const std::string& name) {
    core::throw_if_stopped(reporter, "quantising");
    const at::Tensor weight = weights.view(name);
    PackedWeight packed = quant::quantise(weight, to);
    if (covariance) {
      const at::Tensor c = covariance->load(covariance->site_of(module_of(name)));
      const at::Tensor wide = weight.to(at::kFloat);
      result.plain_error += quant::output_error(wide, quant::dequantised(packed), c) / count;
      packed = quant::quantise(weight, to, c, settings.damping);
      result.output_error += quant::output_error(wide, quant::dequantised(packed), c) / count;
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
              card::text_of_quantised(card::base_of(settings.model), how_of(settings, to)));
  directory.commit();
  result.shards = written.shards;
  result.bytes = written.bytes;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

}  // namespace corda::quantize
