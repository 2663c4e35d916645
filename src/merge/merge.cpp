// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/merge/merge.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cmath>
#include <optional>

#include "corda/adapter/adapter_reader.h"
#include "corda/adapter/check_fit.h"
#include "corda/adapter/tuning.h"
#include "corda/card/card.h"
#include "corda/core/error.h"
#include "corda/core/refuse_changed.h"
#include "corda/core/text.h"
#include "corda/io/chat_template_file.h"
#include "corda/io/rewrite_checkpoint.h"
#include "corda/io/tensor.h"
#include "corda/linalg/device.h"
#include "corda/linalg/require_memory.h"
#include "corda/quant/feedback.h"
#include "corda/quant/write_copy.h"

namespace corda::merge {

using core::concat;

namespace {

constexpr std::string_view kWeight = ".weight";

// The type that --dtype names; settings_of has checked the word. nullopt: each tensor keeps its
// own.
std::optional<io::DType> stored_dtype(const std::string& name) {
  if (name == "auto") return std::nullopt;
  if (name == "bf16") return io::DType::kBF16;
  if (name == "fp16") return io::DType::kF16;
  return io::DType::kF32;
}

std::string module_of(const std::string& name) {
  const std::string known = io::Checkpoint::canonical_name(name);
  return known.ends_with(kWeight) ? known.substr(0, known.size() - kWeight.size()) : "";
}

// How the base is held before anything is merged into it.
quant::Base base_of(const MergeSettings& settings, const quant::ModelWeights& base,
                    const adapter::Adapter& adapter) {
  const bool quantised = base.quantised_layers() > 0;
  constexpr const char* kAdvice = "merge with --into quantised-base and --base ";
  if (settings.into == "base") {
    adapter::check_held(adapter, "bf16", kAdvice);
    if (!quantised) return quant::Base::kDense;
    throw core::ConfigError(
        concat("'", settings.model, "' is quantised (", base.format(),
               "); give the 16-bit model that it was made from, or write a dequantised copy with "
               "--into quantised-base"));
  }
  const std::string& trained = adapter.base_format;
  const std::string name =
      settings.base != "auto" || quantised || trained.empty() ? settings.base : trained;
  if (!quantised && (name == "auto" || name == "bf16")) {
    throw core::ConfigError(concat("--into quantised-base: neither '", settings.model,
                                   "' nor the adapter '", settings.adapter,
                                   "' says how the base is quantised; give --base nf4 or fp8"));
  }
  adapter::check_held(adapter, name, kAdvice);
  return quant::base_named(name);
}

// The weights that a merge begins with, fp32.
class BaseWeights {
 public:
  BaseWeights(const quant::ModelWeights& weights, quant::Base base)
      : weights_(weights), base_(base) {}

  // Whether the weight is another than the files hold.
  bool changes(const std::string& name) const {
    return base_ != quant::Base::kDense && quant::is_block_layer(weights_, name);
  }
  at::Tensor get(const std::string& name) const {
    if (changes(name)) {
      const at::ScalarType type = io::to_scalar_type(weights_.info(name).dtype);
      if (const auto codes = quant::packed_base(weights_, name, base_, at::kCPU, type))
        return quant::dequantised(*codes);
    }
    return weights_.view(name).to(at::kFloat);
  }

 private:
  const quant::ModelWeights& weights_;
  quant::Base base_;
};

bool has_16_bits(io::DType type) { return type == io::DType::kBF16 || type == io::DType::kF16; }

// Rounds merged weights by the inputs' covariance, and keeps account of what it gains.
class InformedRounding {
 public:
  InformedRounding(const MergeSettings& settings, const std::string& fingerprint)
      : damping_(settings.damping) {
    if (!settings.covariance.empty())
      covariance_ = quant::covariance_for(settings.covariance, fingerprint);
  }

  // Throws ConfigError where a covariance was given and rounds none of the layers; `stored` says in
  // which type a layer is written.
  void require_layers(const std::vector<std::string>& modules,
                      const std::function<io::DType(const std::string&)>& stored) const {
    if (!covariance_) return;
    bool narrow = false;
    for (const std::string& module : modules) {
      if (!has_16_bits(stored(module))) continue;
      narrow = true;
      if (!covariance_->site_of(module).empty()) return;
    }
    throw core::ConfigError(
        narrow ? concat("the covariance '", covariance_->directory().string(),
                        "' knows none of the adapted layers, '", modules.front(),
                        "' for example; calibrate on them, or leave out --covariance")
               : std::string("--covariance is for rounding to 16 bits, and the merged weights are "
                             "written in fp32; give --dtype bf16, or leave it out"));
  }
  // Rounds to `type` where that has 16 bits and the covariance knows the layer; else the values
  // stay as they are.
  at::Tensor round(const std::string& module, const at::Tensor& merged, io::DType type) {
    if (!covariance_ || !has_16_bits(type)) return merged;
    const std::string site = covariance_->site_of(module);
    if (site.empty()) return merged;
    const at::Tensor c = covariance_->load(site);
    const at::ScalarType to = io::to_scalar_type(type);
    const at::Tensor rounded = quant::round_with_feedback(merged, c, to, damping_);
    plain_ += quant::output_error(merged, merged.to(to), c);
    informed_ += quant::output_error(merged, rounded, c);
    ++layers_;
    return rounded;
  }
  void report(MergeResult& result) const {
    if (layers_ == 0) return;
    result.output_error = informed_ / layers_;
    result.plain_error = plain_ / layers_;
  }

 private:
  std::optional<io::CovarianceReader> covariance_;
  double damping_;
  double plain_ = 0;
  double informed_ = 0;
  double layers_ = 0;
};

// Of one layer at a time its weight and what it becomes are in memory, both in fp32.
void require_memory(const adapter::AdapterReader& adapter) {
  std::int64_t largest = 0;
  for (const std::string& module : adapter.modules()) {
    const auto [out, in] = adapter.weight_shape(module);
    largest = std::max(largest, out * in);
  }
  linalg::require_memory(at::kCPU, "the largest layer, in fp32 as it is and merged",
                         2 * static_cast<std::int64_t>(sizeof(float)) * largest,
                         "use a machine with more memory");
}

}  // namespace

std::int64_t parse_size(const std::string& text) {
  struct Unit {
    const char* name;
    double bytes;
  };
  constexpr std::array<Unit, 8> kUnits = {{{"kib", 0x1p10},
                                           {"mib", 0x1p20},
                                           {"gib", 0x1p30},
                                           {"tib", 0x1p40},
                                           {"kb", 1e3},
                                           {"mb", 1e6},
                                           {"gb", 1e9},
                                           {"tb", 1e12}}};
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  double factor = 1;
  std::string_view digits = lower;
  for (const auto& unit : kUnits) {
    if (!lower.ends_with(unit.name)) continue;
    factor = unit.bytes;
    digits.remove_suffix(std::string_view(unit.name).size());
    break;
  }
  const auto number = core::parse_double(core::trim(digits));
  if (!number || !std::isfinite(*number) || *number * factor < 1 || *number * factor > 1e18) {
    throw core::ConfigError(
        concat("'max_shard_size' must be a size such as 5GB or 500MB; it is '", text, "'"));
  }
  return static_cast<std::int64_t>(*number * factor);
}

core::SettingsList settings_of(MergeSettings& s) {
  core::SettingsList list;
  list.add("model", s.model, core::kModelHelp).path(core::PathKind::kModel).required();
  list.add("adapter", s.adapter, "adapter directory, corda's or PEFT's")
      .path(core::PathKind::kModel)
      .required();
  list.add("out", s.out, "model directory to write").path();
  list.add("scale", s.scale,
           "what every layer's change is multiplied by: 1 the adapter as it was trained, less "
           "forgets less, 0 the base; several values print the losses on --data and write nothing",
           {-1000, 1000})
      .split_at_commas();
  list.add("dtype", s.dtype, "dtype of the floating-point weights; auto: as in the base",
           {"auto", "bf16", "fp16", "fp32"});
  list.add("max_shard_size", s.max_shard_size,
           "largest shard, such as 5GB; empty: the shards of the base");
  list.add(
      "into", s.into,
      "base: the 16-bit weights; quantised-base: a dequantised copy of the base as it was held "
      "in 4 or 8 bits",
      {"base", "quantised-base"});
  list.add("base", s.base,
           "the codes of --into quantised-base and --verify; auto: those of the files, else those "
           "that the adapter was trained over",
           quant::base_names());
  list.add(
          "covariance", s.covariance,
          "covariance directory of `corda calibrate` on this model: rounding to 16 bits passes its "
          "error on to the inputs that can make it good; empty: to the nearest")
      .path();
  list.add("damping", s.damping, "of --covariance: c of C + c mean(diag C) I", {1e-6, 10});
  list.add("threads", s.threads, "CPU threads; 0: all", {0, 4096});
  return list;
}

MergeResult merge(const MergeSettings& settings, core::Reporter& reporter,
                  const std::function<void(const std::filesystem::path& merged)>& check) {
  const auto begin = std::chrono::steady_clock::now();
  MergeSettings resolved = settings;
  settings_of(resolved).check_values();
  if (resolved.covariance.empty()) {
    core::refuse_changed(resolved, settings_of, {"damping"},
                         "for --covariance, which is not given");
  }
  if (settings.out.empty()) throw core::ConfigError("missing setting 'out'");
  if (settings.scale.size() != 1) {
    throw core::ConfigError(
        concat("a merged model has one --scale; ", settings.scale.size(), " were given"));
  }
  const double strength = settings.scale.front();
  linalg::set_threads(settings.threads);
  io::RewriteOptions options{
      .dtype = stored_dtype(settings.dtype),
      .max_shard_bytes = settings.max_shard_size.empty() ? 0 : parse_size(settings.max_shard_size)};
  const quant::ModelWeights base = quant::open_model(settings.model, reporter);
  const adapter::AdapterReader adapter(settings.adapter);
  const BaseWeights weights(base, base_of(settings, base, adapter.header()));
  adapter::check_fit(adapter, base, reporter);
  // A head that is stored with other values than the embedding, and now changed, must not be taken
  // for tied by a program that believes config.json.
  options.untie_head = adapter.contains("lm_head");
  require_memory(adapter);
  InformedRounding rounding(settings, settings.covariance.empty() ? "" : base.fingerprint());
  rounding.require_layers(adapter.modules(), [&](const std::string& module) {
    const std::string name = concat(module, kWeight);
    return options.dtype.value_or(base.contains(name) ? base.info(name).dtype : io::DType::kF32);
  });
  core::AtomicDirectory directory(settings.out);
  MergeResult result;
  const auto content = [&](const std::string& name) -> at::Tensor {
    core::throw_if_stopped(reporter, "merging");
    const std::string module = module_of(name);
    if (!adapter.contains(module)) return weights.changes(name) ? weights.get(name) : at::Tensor();
    const at::Tensor weight = weights.get(name);
    const adapter::LayerAdapter layer = adapter.layer(module);
    // rewrite_checkpoint rounds it to the stored type.
    const at::Tensor merged =
        adapter::merged_weight(weight, layer, adapter.header().scale_of(layer), strength);
    if (!merged.isfinite().all().item<bool>()) {
      throw core::NumericalError(
          concat("the merged weight of '", module, "' is not finite; did training diverge?"));
    }
    ++result.merged;
    reporter.advance(1, module);
    return rounding.round(module, merged, options.dtype.value_or(base.info(name).dtype));
  };
  reporter.begin("merge", static_cast<std::int64_t>(adapter.modules().size()), "layer");
  const io::RewriteResult written = quant::write_dense(base, directory.staging(), content, options);
  reporter.end();
  io::note_left_behind(base.files(), "merged", reporter);
  if (!adapter.header().chat_template.empty()) {
    io::write_chat_template(directory.staging(), adapter.header().chat_template);
    reporter.info(concat("the template '", adapter.header().template_name,
                         "' of the training is now the model's chat template"));
  }
  auto run = card::run_of(settings.adapter);
  if (run && strength != 1) run->evaluation.reset();  // which was of the whole change
  card::write(directory.staging(),
              card::text_of(card::Artifact::kModel, card::base_of(settings.model),
                            adapter::tuning_of(adapter), run));
  core::write_settings(directory.staging(), settings_of(resolved));
  if (check) check(directory.staging());
  directory.commit();
  rounding.report(result);
  result.tensors = written.tensors;
  result.shards = written.shards;
  result.bytes = written.bytes;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

}  // namespace corda::merge
