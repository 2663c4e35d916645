// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/quant/model_weights.h"

#include <ATen/ATen.h>

#include <array>
#include <cstring>
#include <map>

#include "corda/core/checked.h"
#include "corda/core/error.h"
#include "corda/io/tensor.h"
#include "quant/layer.h"
#include "quant/quantisation_config.h"

namespace corda::quant {

using core::concat;

namespace {

constexpr std::string_view kWeight = ".weight";

// A format is known by a tensor behind the layer's name.
struct FormatRow {
  std::string_view marker;
  Layer (*read)(LayerFiles&);
};
constexpr std::array<FormatRow, 8> kFormats = {
    {{".weight.quant_state.bitsandbytes__nf4", read_bitsandbytes_4bit},
     {".weight.quant_state.bitsandbytes__fp4", read_bitsandbytes_4bit},
     {".SCB", read_bitsandbytes_int8},
     {".weight_scale_inv", read_scaled},
     {".qscale_weight", read_scaled},
     {".weight_packed", read_pack_quantized},
     {".weight_scale", read_scaled},
     {".qweight", read_gptq_or_awq}}};

// Parts of formats that are known and not read.
struct RefusedRow {
  std::string_view marker;
  const char* name;
};
constexpr std::array<RefusedRow, 8> kRefused = {{{".weight_scale_2", "NVFP4 of ModelOpt"},
                                                 {".weight_global_scale", "NVFP4"},
                                                 {"_proj_blocks", "MXFP4"},
                                                 {".q_weight", "EXL2"},
                                                 {".W_q", "HQQ"},
                                                 {".weight._data", "quanto"},
                                                 {".trellis", "EXL3"},
                                                 {".codebooks", "AQLM"}}};

void refuse(const io::Checkpoint& files, const std::string& name) {
  for (const RefusedRow& refused : kRefused) {
    if (!name.ends_with(refused.marker)) continue;
    throw core::FormatError(concat("'", files.directory().string(), "': '", name,
                                   "' is of weights quantised by ", refused.name,
                                   ", which are not read; use the model in 16 bits"));
  }
}

// Scales of a quantised key/value cache change no weight.
bool is_cache_scale(std::string_view name) {
  return name.ends_with(".k_scale") || name.ends_with(".v_scale") || name.ends_with(".q_scale");
}

// Of files without a quantised layer, transformers would quantise them or miss their scales.
void require_dense(const io::Checkpoint& files) {
  const core::Json settings = read_config(files.directory()).settings;
  const auto is = [&](const char* key, const core::Json& value) {
    const auto found = settings.find(key);
    return found != settings.end() && *found == value;
  };
  const bool is_off = is("quant_method", "bitsandbytes")
                          ? !is("load_in_4bit", true) && !is("load_in_8bit", true)
                          : is("format", "dense");
  if (settings.empty() || is_off) return;
  throw core::FormatError(
      concat("'", files.directory().string(), "': the 'quantization_config' of config.json says ",
             "that weights are quantised (",
             settings.contains("quant_method") ? settings["quant_method"].dump() : "no method",
             "), and the files hold none that are; remove that key if the weights are meant as ",
             "they are, or take the files that belong to it"));
}

}  // namespace

struct ModelWeights::State {
  explicit State(const io::Checkpoint& checkpoint) : files(checkpoint) {}

  io::Checkpoint files;
  std::map<std::string, Layer> layers;          // by "P.weight" as the files spell P
  std::map<std::string, io::TensorInfo> infos;  // of those
  std::map<std::string, std::string> shown;     // parts -> "P.weight", "" for all but the first

  const Layer* find(const std::string& name) const {
    const auto found = layers.find(stored_name(name));
    return found == layers.end() ? nullptr : &found->second;
  }
  std::string stored_name(const std::string& name) const;
  void add(const std::string& module, Layer layer);
};

std::string ModelWeights::State::stored_name(const std::string& name) const {
  if (layers.contains(name)) return name;
  // A part of the layer knows how the files spell it.
  if (name.ends_with(kWeight)) {
    const std::string module = name.substr(0, name.size() - kWeight.size());
    for (const FormatRow& format : kFormats) {
      const std::string part = files.stored_name(concat(module, format.marker));
      if (!part.ends_with(format.marker)) continue;
      const std::string spelt = concat(part.substr(0, part.size() - format.marker.size()), kWeight);
      if (layers.contains(spelt)) return spelt;
    }
  }
  return files.stored_name(name);
}

void ModelWeights::State::add(const std::string& module, Layer layer) {
  const std::string name = concat(module, kWeight);
  io::TensorInfo info{.dtype = layer.dtype, .shape = layer.shape};
  info.bytes = io::size_of(layer.dtype);
  for (const std::int64_t extent : layer.shape)
    info.bytes = core::checked_mul(info.bytes, extent, name.c_str());
  for (std::size_t i = 0; i < layer.parts.size(); ++i) {
    const bool added = shown.emplace(layer.parts[i], i == 0 ? name : "").second;
    if (!added) {
      throw core::FormatError(concat("'", files.directory().string(), "': '", layer.parts[i],
                                     "' belongs to two quantised formats"));
    }
  }
  infos[name] = std::move(info);
  layers.emplace(name, std::move(layer));
}

ModelWeights::ModelWeights(const io::Checkpoint& files) {
  const auto state = std::make_shared<State>(files);
  const std::vector<std::string> names = files.names();
  for (const std::string& name : names) refuse(files, name);
  std::optional<QuantisationConfig> config;
  for (const FormatRow& format : kFormats) {
    for (const std::string& name : names) {
      if (!name.ends_with(format.marker)) continue;
      const std::string module = name.substr(0, name.size() - format.marker.size());
      if (state->layers.contains(concat(module, kWeight))) continue;
      if (!config) config = read_config(files.directory());
      LayerFiles layer(files, *config, module);
      state->add(module, format.read(layer));
    }
  }
  if (state->layers.empty()) require_dense(files);
  for (const std::string& name : names) {
    if (is_cache_scale(name)) state->shown.emplace(name, "");
  }
  state_ = state;
}

const io::Checkpoint& ModelWeights::files() const { return state_->files; }

std::vector<std::string> ModelWeights::names() const {
  if (state_->layers.empty()) return files().names();
  std::vector<std::string> result;
  for (const std::string& stored : files().names()) {
    if (std::string shown = shown_name(stored); !shown.empty()) result.push_back(std::move(shown));
  }
  std::sort(result.begin(), result.end());
  return result;
}

std::string ModelWeights::shown_name(const std::string& stored) const {
  const auto found = state_->shown.find(stored);
  return found == state_->shown.end() ? stored : found->second;
}

std::string ModelWeights::stored_name(const std::string& name) const {
  return state_->stored_name(name);
}

bool ModelWeights::is_quantised(const std::string& name) const {
  return state_->find(name) != nullptr;
}

bool ModelWeights::contains(const std::string& name) const {
  if (is_quantised(name)) return true;
  const std::string stored = stored_name(name);
  return files().contains(stored) && shown_name(stored) == stored;
}

const io::TensorInfo& ModelWeights::info(const std::string& name) const {
  const auto found = state_->infos.find(stored_name(name));
  return found == state_->infos.end() ? files().info(name) : found->second;
}

void ModelWeights::forget(const std::string& name) const {
  const Layer* layer = state_->find(name);
  if (layer == nullptr) return files().forget(name);
  for (const std::string& part : layer->parts) files().forget(part);
}

std::int64_t ModelWeights::quantised_layers() const {
  return static_cast<std::int64_t>(state_->layers.size());
}

std::string ModelWeights::format() const {
  return state_->layers.empty() ? "" : state_->layers.begin()->second.format;
}

void ModelWeights::require_values(const std::string& name) const {
  const io::DType type = info(name).dtype;
  if (io::is_floating(type)) return;
  throw core::FormatError(concat("'", stored_name(name), "' is ", io::to_string(type), " in '",
                                 directory().string(),
                                 "', a quantised weight; give the model in bf16, fp16 or fp32, or "
                                 "with the scales of its codes"));
}

at::Tensor ModelWeights::view(const std::string& name) const {
  require_values(name);
  const Layer* layer = state_->find(name);
  if (layer == nullptr) return io::view_tensor(files(), name);
  return layer->rows(0, layer->shape[0]).to(io::to_scalar_type(layer->dtype));
}

linalg::HostRows ModelWeights::rows(const std::string& name) const {
  require_values(name);
  const Layer* layer = state_->find(name);
  if (layer == nullptr) return linalg::rows_of(io::view_tensor(files(), name));
  linalg::HostRows rows{
      .shape = layer->shape, .type = io::to_scalar_type(layer->dtype), .fill = {}};
  // The layer lives as long as the state.
  rows.fill = [state = state_, layer, type = rows.type](std::int64_t begin, std::int64_t end,
                                                        std::byte* to) {
    const at::Tensor values = layer->rows(begin, end).to(type);
    std::memcpy(to, values.const_data_ptr(), values.nbytes());
  };
  return rows;
}

std::optional<kernels::PackedWeight> ModelWeights::packed(const std::string& name) const {
  const Layer* layer = state_->find(name);
  if (layer == nullptr || !layer->packed) return std::nullopt;
  return *layer->packed;
}

at::Tensor ModelWeights::load(const std::string& name, at::Device device,
                              at::ScalarType type) const {
  const auto options = at::TensorOptions().dtype(type).device(device);
  if (device.is_meta()) return at::empty(info(name).shape, options);
  const Layer* layer = state_->find(name);
  const bool here = type == at::kFloat || type == at::kBFloat16;
  if (layer != nullptr && layer->packed && here) {
    at::Tensor values = at::empty(layer->shape, options);
    kernels::dequantise(values, layer->packed->to(device));
    return values;
  }
  // copy = true: the map's bytes must not outlive the file.
  return view(name).to(device, type, /*non_blocking=*/false, /*copy=*/layer == nullptr);
}

ModelWeights open_model(const std::filesystem::path& directory, core::Reporter& reporter) {
  const ModelWeights weights(io::open_model(directory, reporter));
  if (const std::int64_t layers = weights.quantised_layers(); layers > 0) {
    reporter.info(concat("'", directory.string(), "': ", layers, " layers are quantised (",
                         weights.format(), ")"));
  }
  return weights;
}

}  // namespace corda::quant
