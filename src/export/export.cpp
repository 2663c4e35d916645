// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/export/export.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "corda/adapter/adapter_reader.h"
#include "corda/adapter/check_fit.h"
#include "corda/adapter/spectrum.h"
#include "corda/adapter/tuning.h"
#include "corda/card/card.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/room.h"
#include "corda/core/text.h"
#include "corda/io/tensor.h"
#include "corda/linalg/device.h"
#include "corda/linalg/require_memory.h"
#include "corda/model/config.h"
#include "export/gguf_names.h"
#include "export/gguf_writer.h"

namespace corda::exports {

using adapter::AdapterReader;
using adapter::LayerAdapter;
using core::concat;

namespace {

io::DType dtype_named(const std::string& name) {
  if (name == "bf16") return io::DType::kBF16;
  return name == "fp16" ? io::DType::kF16 : io::DType::kF32;
}

// The layer's stored product, or the best of a lower rank, with what stands beside it: its scale.
struct Exported {
  LayerAdapter layer;
  double scale = 1;
};

Exported exported(const AdapterReader& reader, const LayerAdapter& layer,
                  const ExportSettings& settings) {
  const double scale = reader.header().scale_of(layer);
  if (settings.rank > 0) return {adapter::compress(layer, scale, settings.rank).layer, 1};
  if (layer.magnitude.defined() && settings.format == "gguf") {
    throw core::ConfigError(
        "llama.cpp reads no DoRA; merge the adapter and convert the model instead");
  }
  const adapter::Factors factors = adapter::exported_factors(layer);
  Exported result{.layer = {}, .scale = scale};
  result.layer.a = factors.a;
  result.layer.b = factors.b;
  result.layer.magnitude = layer.magnitude;
  return result;
}

LayerAdapter rounded(LayerAdapter layer, io::DType dtype) {
  const at::ScalarType type = io::to_scalar_type(dtype);
  layer.a = layer.a.to(type);
  layer.b = layer.b.to(type);
  return layer;
}

// The squared norms of an update and of what the written one lacks of it.
std::pair<double, double> error_of(const LayerAdapter& before, double scale,
                                   const LayerAdapter& written, double written_scale) {
  const adapter::Factors factors = adapter::exported_factors(before);
  const double norm = adapter::update_norm(before, scale);
  if (scale == written_scale && at::equal(factors.a, written.a) && at::equal(factors.b, written.b))
    return {norm * norm, 0};
  LayerAdapter difference;
  difference.b =
      at::cat({factors.b.to(at::kDouble) * scale, written.b.to(at::kDouble) * -written_scale}, 1);
  difference.a = at::cat({factors.a.to(at::kDouble), written.a.to(at::kDouble)}, 0);
  double lost = 0;
  for (const double value : adapter::update_spectrum(difference, 1)) lost += value * value;
  return {norm * norm, lost};
}

// The rows of a head from halves to pairs, as the original Llama has them, [out, r].
at::Tensor interleaved(const at::Tensor& b, std::int64_t heads) {
  const std::int64_t out = b.size(0);
  return b.reshape({heads, 2, out / heads / 2, b.size(1)})
      .transpose(1, 2)
      .reshape({out, b.size(1)});
}

class Gguf {
 public:
  Gguf(const ExportSettings& settings, const AdapterReader& reader)
      : model_(model::read_model_config(settings.model)), family_(gguf_family(model_.family)) {
    const io::DType dtype = dtype_named(settings.dtype);
    file_.add("general.type", std::string("adapter"));
    file_.add("general.architecture", family_.architecture);
    file_.add(
        "general.name",
        concat(reader.header().method, " adapter of ",
               reader.header().base_name.empty() ? settings.model : reader.header().base_name));
    const std::uint32_t type = dtype == io::DType::kF32 ? 0 : dtype == io::DType::kF16 ? 1 : 32;
    file_.add("general.file_type", type);
    file_.add("adapter.type", std::string("lora"));
    // llama.cpp divides it by each layer's own rank; 0: it does not scale, since the factors do.
    file_.add("adapter.lora.alpha", 0.0F);
  }

  // Adds a layer whose factors hold its scale.
  void add(const std::string& module, const LayerAdapter& layer) {
    const std::string name = gguf_name(module, model_);
    at::Tensor b = layer.b;
    if (family_.interleaves && module.ends_with(".q_proj"))
      b = interleaved(b, model_.attention.heads);
    if (family_.interleaves && module.ends_with(".k_proj"))
      b = interleaved(b, model_.attention.kv_heads);
    file_.add(name + ".lora_a", layer.a.contiguous());
    file_.add(name + ".lora_b", b.contiguous());
  }

  void write(const core::fs::path& path) const { file_.write(path); }

 private:
  model::ModelDescription model_;
  GgufFamily family_;
  GgufWriter file_;
};

// The header of a plain LoRA that holds the same.
adapter::Adapter header_of(const AdapterReader& reader, const ExportSettings& settings) {
  adapter::Adapter result = reader.header();
  if (result.method != "dora") result.method = "lora";
  result.mode.clear();
  result.reports.clear();
  result.covariance_fingerprints.clear();
  result.train_a = true;
  result.train_b = true;
  result.dropout = 0;
  if (settings.rank > 0) result.alpha = 0;  // becomes the rank: a scale of 1
  return result;
}

// The card, whose facts on the base are those of the model or, without one, of the adapter's own
// card.
std::string card_of(const AdapterReader& reader, const ExportSettings& settings,
                    const adapter::Adapter& written) {
  card::Base base =
      settings.model.empty() ? card::base_in_card(settings.adapter) : card::base_of(settings.model);
  if (base.name.empty()) base.name = core::fs::path(reader.header().base_name).filename().string();
  card::Tuning tuning = adapter::tuning_of(written);
  tuning.method = reader.header().method;
  tuning.mode = reader.header().mode;
  return card::text_of(card::Artifact::kAdapter, base, tuning, card::run_of(settings.adapter));
}

void check_out(const ExportSettings& settings) {
  if (settings.format == "gguf" && settings.model.empty()) {
    throw core::ConfigError(
        "format gguf needs --model: the base's config.json says what llama.cpp calls its layers");
  }
  if (settings.format == "gguf" && core::fs::exists(settings.out))
    throw core::ConfigError(concat("'", settings.out, "' is there already; choose another --out"));
}

// Throws where the result, which is put together in memory, has no room there or on the disk.
void require_room(const ExportSettings& settings, const AdapterReader& reader, io::DType dtype) {
  std::int64_t elements = 0;
  for (const std::string& module : reader.modules()) {
    const auto [out, in] = reader.weight_shape(module);
    std::int64_t rank = reader.rank_of(module);
    if (settings.rank > 0) rank = std::min(rank, settings.rank);
    elements += rank * (out + in);
  }
  const std::int64_t bytes = elements * io::size_of(dtype);
  core::require_disk_space(settings.out, bytes, "the adapter");
  linalg::require_memory(at::kCPU, "the adapter", bytes, "use a machine with more memory");
}

}  // namespace

core::SettingsList settings_of(ExportSettings& s) {
  core::SettingsList list;
  list.add("adapter", s.adapter, "adapter directory, corda's or PEFT's")
      .path(core::PathKind::kModel)
      .required();
  list.add("model", s.model,
           "its base, for format gguf: a directory, or org/name in the Hugging Face cache")
      .path(core::PathKind::kModel);
  list.add("rank", s.rank,
           "of what is written, the best approximation of that rank; 0: as it is stored",
           {0, 65536});
  list.add("dtype", s.dtype, "of the factors", {"fp32", "bf16", "fp16"});
  list.add("format", s.format, "peft: a directory; gguf: a file for llama.cpp", {"peft", "gguf"});
  list.add("out", s.out, "adapter directory, or GGUF file, to write").path().required();
  list.add("threads", s.threads, "CPU threads; 0: all", {0, 4096});
  return list;
}

ExportResult export_adapter(const ExportSettings& given, core::Reporter& reporter) {
  ExportSettings settings = given;
  settings_of(settings).check_values();
  check_out(settings);
  linalg::set_threads(settings.threads);
  const AdapterReader reader(settings.adapter);
  std::int64_t largest = 0;
  for (const std::string& module : reader.modules())
    largest = std::max(largest, reader.rank_of(module));
  if (settings.rank > largest) {
    throw core::ConfigError(concat("--rank ", settings.rank, " is more than the ", largest,
                                   " that '", settings.adapter,
                                   "' has; give a lower one, or none"));
  }
  const io::DType dtype = dtype_named(settings.dtype);
  require_room(settings, reader, dtype);
  std::optional<Gguf> gguf;
  std::optional<core::AtomicDirectory> directory;
  if (settings.format == "gguf") {
    // llama.cpp reads bases in neither of the codes.
    adapter::check_held(reader.header(), "gguf", "merge it with --into quantised-base --base ");
    gguf.emplace(settings, reader);
  } else {
    directory.emplace(settings.out);
  }
  adapter::Adapter result = header_of(reader, settings);
  if (!settings.model.empty())
    result.base_blocks = model::read_model_config(settings.model).num_layers();
  ExportResult summary;
  summary.layers = static_cast<std::int64_t>(reader.modules().size());
  double whole = 0;
  double lost = 0;
  reporter.begin("export", summary.layers, "layer");
  for (const std::string& module : reader.modules()) {
    core::throw_if_stopped(reporter, "exporting");
    const LayerAdapter layer = reader.layer(module);
    const double scale = reader.header().scale_of(layer);
    Exported made = exported(reader, layer, settings);
    if (gguf) {
      made.layer.b = made.layer.b * made.scale;
      made.scale = 1;
    }
    const LayerAdapter written = rounded(made.layer, dtype);
    const auto [squares, missing] = error_of(layer, scale, written, made.scale);
    whole += squares;
    lost += missing;
    const double error = squares > 0 ? std::sqrt(missing / squares) : 0;
    if (error > summary.largest_error) {
      summary.largest_error = error;
      summary.worst_layer = module;
    }
    const std::int64_t rank = written.rank();
    summary.rank = std::max(summary.rank, rank);
    const auto size = static_cast<std::int64_t>(written.a.nbytes() + written.b.nbytes());
    summary.bytes += size;
    if (gguf) {
      gguf->add(module, written);
    } else {
      made.layer.alpha = made.scale * static_cast<double>(rank);
      result.layers[module] = std::move(made.layer);
    }
    reporter.advance(1, module);
  }
  reporter.end();
  summary.relative_error = whole > 0 ? std::sqrt(lost / whole) : 0;
  if (gguf) {
    gguf->write(settings.out);
    return summary;
  }
  result.rank = summary.rank;
  for (const auto& [module, layer] : result.layers)
    if (layer.rank() == result.rank) result.alpha = *layer.alpha;
  adapter::write_adapter(directory->staging(), result, dtype);
  card::write(directory->staging(), card_of(reader, settings, result));
  core::write_settings(directory->staging(), settings_of(settings));
  directory->commit();
  return summary;
}

}  // namespace corda::exports
