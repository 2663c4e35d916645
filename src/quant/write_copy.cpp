// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/quant/write_copy.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <utility>

#include "corda/core/error.h"
#include "corda/io/tensor.h"
#include "core/json.h"

namespace corda::quant {

using core::Json;
using io::DType;
using io::RewrittenTensor;
using kernels::PackedWeight;
using kernels::TableCodes;
using kernels::TileCodes;

namespace {

// The names of a layer's tensors behind "P.weight", with their values.
using Parts = std::vector<std::pair<std::string, at::Tensor>>;

const char* word_of(at::ScalarType type) {
  if (type == at::kHalf) return "float16";
  return type == at::kFloat ? "float32" : "bfloat16";
}

// bitsandbytes' quant_state, which is parsed as JSON from a tensor of bytes.
std::string state_of(const PackedWeight& packed, const TableCodes& codes) {
  Json state = {{"quant_type", "nf4"},
                {"blocksize", codes.block},
                {"dtype", word_of(packed.rounded_to)},
                {"shape", {packed.rows, packed.columns}}};
  if (codes.nested_table.defined()) {
    state["nested_blocksize"] = codes.nested_block;
    state["nested_dtype"] = "float32";
    state["nested_offset"] = static_cast<double>(codes.nested_offset);
  }
  return state.dump();
}

// The text's length depends on the offset, which the layout does not know; JSON may end in spaces.
constexpr std::size_t kStateBytes = 256;

Parts parts_of(const PackedWeight& packed) {
  if (const auto* tiles = std::get_if<TileCodes>(&packed.codes)) {
    const bool channel = tiles->block_rows == 1;
    return {{"", tiles->codes},
            {channel ? "_scale" : "_scale_inv",
             channel ? tiles->scales.to(packed.rounded_to) : tiles->scales}};
  }
  const auto& codes = std::get<TableCodes>(packed.codes);
  Parts parts = {
      {"", codes.codes.unsqueeze(1)}, {".absmax", codes.absmax}, {".quant_map", codes.table}};
  if (codes.nested_table.defined()) {
    parts.emplace_back(".nested_absmax", codes.nested_absmax);
    parts.emplace_back(".nested_quant_map", codes.nested_table);
  }
  std::string state = codes.codes.is_meta() ? "" : state_of(packed, codes);
  state.resize(std::max(state.size(), kStateBytes), ' ');
  parts.emplace_back(".quant_state.bitsandbytes__nf4",
                     at::tensor(std::vector<std::uint8_t>(state.begin(), state.end()), at::kByte));
  return parts;
}

// The type that a tensor which is not quantised has in the copy.
DType dense_type(const io::TensorInfo& info, const io::RewriteOptions& options) {
  return options.dtype && io::is_floating(info.dtype) ? *options.dtype : info.dtype;
}

// compressed-tensors' settings of float8: activations are quantised as they come, a scale a token.
Json channel_configuration() {
  const Json float8 = {{"num_bits", 8}, {"type", "float"}, {"symmetric", true}};
  Json weights = float8;
  weights.update({{"strategy", "channel"}, {"dynamic", false}});
  Json activations = float8;
  activations.update({{"strategy", "token"}, {"dynamic", true}});
  const Json group = {
      {"targets", {"Linear"}}, {"weights", weights}, {"input_activations", activations}};
  return {{"quant_method", "compressed-tensors"},
          {"format", "float-quantized"},
          {"quantization_status", "compressed"},
          {"config_groups", {{"group_0", group}}},
          {"ignore", {"lm_head"}}};
}

std::string configuration(Format to, const std::string& dtype) {
  Json config;
  if (to.base == Base::kFloat8 && to.scales == Scales::kChannel) {
    config = channel_configuration();
  } else if (to.base == Base::kFloat8) {
    config = {{"quant_method", "fp8"},
              {"activation_scheme", "dynamic"},
              {"fmt", "e4m3"},
              {"weight_block_size", {kTile, kTile}},
              {"modules_to_not_convert", {"lm_head"}}};
  } else {
    config = {{"quant_method", "bitsandbytes"},
              {"load_in_4bit", true},
              {"load_in_8bit", false},
              {"bnb_4bit_quant_type", "nf4"},
              {"bnb_4bit_use_double_quant", true},
              {"bnb_4bit_compute_dtype", dtype},
              {"bnb_4bit_quant_storage", "uint8"},
              {"llm_int8_enable_fp32_cpu_offload", false},
              {"llm_int8_has_fp16_weight", false},
              {"llm_int8_skip_modules", {"lm_head"}},
              {"llm_int8_threshold", 6.0}};
  }
  return config.dump();
}

}  // namespace

bool is_block_layer(const ModelWeights& weights, const std::string& name) {
  std::string_view canonical;
  const std::string spelt = io::Checkpoint::canonical_name(name);
  canonical = spelt;
  for (const std::string_view prefix :
       {std::string_view("model.language_model.layers."), std::string_view("model.layers.")}) {
    if (!canonical.starts_with(prefix)) continue;
    canonical.remove_prefix(prefix.size());
    return !canonical.empty() && std::isdigit(static_cast<unsigned char>(canonical.front())) != 0 &&
           canonical.ends_with(".weight") && weights.info(name).shape.size() == 2;
  }
  return false;
}

io::RewriteResult write_dense(const ModelWeights& weights, const std::filesystem::path& out,
                              const std::function<at::Tensor(const std::string& name)>& content,
                              io::RewriteOptions options) {
  if (weights.quantised_layers() == 0)
    return io::rewrite_checkpoint(weights.files(), out, content, options);
  options.quantization_config = "";
  options.layout = [&weights, dtype = options.dtype](const std::string& stored) {
    std::vector<RewrittenTensor> tensors;
    const std::string name = weights.shown_name(stored);
    if (name.empty()) return tensors;
    const io::TensorInfo& info = weights.info(name);
    tensors.push_back({name, dense_type(info, {.dtype = dtype}), info.shape});
    return tensors;
  };
  return io::rewrite_checkpoint(
      weights.files(), out,
      [&](const std::string& name) {
        at::Tensor value = content(name);
        if (!value.defined() && weights.is_quantised(name)) value = weights.view(name);
        return value;
      },
      options);
}

io::RewriteResult write_quantised(
    const ModelWeights& weights, const std::filesystem::path& out, Format to,
    const std::function<PackedWeight(const std::string& name)>& content,
    io::RewriteOptions options) {
  std::map<std::string, std::string> layer_of;  // of the tensors that are written
  std::string dtype = "bfloat16";
  for (const std::string& name : weights.names()) {
    if (is_block_layer(weights, name))
      dtype = word_of(io::to_scalar_type(weights.info(name).dtype));
  }
  options.quantization_config = configuration(to, dtype);
  options.layout = [&](const std::string& stored) {
    std::vector<RewrittenTensor> tensors;
    const std::string name = weights.shown_name(stored);
    if (name.empty()) return tensors;
    const io::TensorInfo& info = weights.info(name);
    if (!is_block_layer(weights, name)) {
      tensors.push_back({name, info.dtype, info.shape});
      return tensors;
    }
    const at::Tensor shape = weights.load(name, at::kMeta, io::to_scalar_type(info.dtype));
    for (const auto& [suffix, tensor] : parts_of(quantise(shape, to))) {
      tensors.push_back({name + suffix, io::to_dtype(tensor.scalar_type()), tensor.sizes().vec()});
      layer_of[name + suffix] = name;
    }
    return tensors;
  };
  // The parts of one layer are written one after the other.
  std::string made;
  std::map<std::string, at::Tensor> parts;
  return io::rewrite_checkpoint(
      weights.files(), out,
      [&](const std::string& name) -> at::Tensor {
        const auto layer = layer_of.find(name);
        if (layer == layer_of.end())
          return weights.is_quantised(name) ? weights.view(name) : at::Tensor();
        if (made != layer->second) {
          made = layer->second;
          parts.clear();
          for (auto& [suffix, tensor] : parts_of(content(made))) parts[made + suffix] = tensor;
        }
        return parts.at(name);
      },
      options);
}

}  // namespace corda::quant
