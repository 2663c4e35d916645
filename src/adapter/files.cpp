// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Writes the adapter directory: adapter_config.json and adapter_model.safetensors for everyone,
// corda.json for us.
#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "adapter/file_layout.h"
#include "adapter/layer_report.h"
#include "adapter/peft_config.h"
#include "corda/adapter/adapter.h"
#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/io/tensor.h"
#include "core/json.h"

namespace corda::adapter {

using core::concat;
using core::InternalError;
using core::Json;

namespace {

bool subtracts_start(const Adapter& adapter) {
  return !adapter.layers.empty() && adapter.layers.begin()->second.subtracts_start();
}

std::int64_t stored_rank(const Adapter& adapter, bool subtracts) {
  return subtracts ? 2 * adapter.rank : adapter.rank;
}

io::SafetensorsLayout empty_layout() {
  return io::SafetensorsLayout(std::map<std::string, std::string>{{"format", "pt"}});
}

void declare(io::SafetensorsLayout& layout, const std::string& module,
             const AdapterTensors::Shape& shape, std::int64_t stored_rank) {
  const TensorNames names = tensor_names(module);
  layout.declare(names.a, io::DType::kF32, {stored_rank, shape.in_features});
  layout.declare(names.b, io::DType::kF32, {shape.out_features, stored_rank});
}

void check_layer(const std::string& module, const LayerAdapter& layer, const Adapter& adapter) {
  const auto shape = [](const at::Tensor& t) {
    return t.defined() ? concat(t.sizes()) : std::string("undefined");
  };
  const bool factors = layer.a.defined() && layer.b.defined() && layer.a.dim() == 2 &&
                       layer.b.dim() == 2 && layer.a.size(0) == adapter.rank &&
                       layer.b.size(1) == adapter.rank;
  const bool start = layer.a0.defined() == layer.b0.defined() &&
                     layer.subtracts_start() == subtracts_start(adapter) &&
                     (!layer.subtracts_start() ||
                      (layer.a0.sizes() == layer.a.sizes() && layer.b0.sizes() == layer.b.sizes()));
  const bool magnitude = layer.magnitude.defined() == (adapter.method == "dora") &&
                         (!layer.magnitude.defined() ||
                          (layer.magnitude.numel() == layer.b.size(0) && !layer.subtracts_start()));
  if (factors && start && magnitude) return;
  throw InternalError(concat("[adapter::write_adapter] layer '", module, "' does not fit method ",
                             adapter.method, " at rank ", adapter.rank, ": A ", shape(layer.a),
                             ", B ", shape(layer.b), ", A0 ", shape(layer.a0), ", B0 ",
                             shape(layer.b0), ", magnitude ", shape(layer.magnitude)));
}

// Leaf names ("q_proj"), which every tool knows, where each block adapts the same leaves; else full
// names, since a leaf name would make PEFT adapt modules that have no tensors.
std::vector<std::string> target_modules(const std::vector<std::string>& modules) {
  std::map<std::string, std::set<std::string>> blocks_of_leaf;
  std::set<std::string> blocks;
  for (const auto& module : modules) {
    std::string block;  // the part up to the first number: "model.layers.17"
    for (const auto& part : core::split(module, '.')) {
      block += "." + part;
      if (core::parse_int(part)) break;
    }
    blocks.insert(block);
    blocks_of_leaf[std::string(core::last_part(module))].insert(block);
  }
  const bool regular =
      std::all_of(blocks_of_leaf.begin(), blocks_of_leaf.end(),
                  [&](const auto& entry) { return entry.second.size() == blocks.size(); });
  if (!regular) return modules;
  std::vector<std::string> names;
  for (const auto& [leaf, where] : blocks_of_leaf) names.push_back(leaf);
  return names;
}

Json notes_of(const Adapter& adapter, bool subtracts) {
  Json root;
  root["version"] = kNotesVersion;
  root["method"] = adapter.method;
  root["mode"] = adapter.mode;
  root["rank"] = adapter.rank;
  root["alpha"] = adapter.alpha;
  root["train_a"] = adapter.train_a;
  root["subtracts_start"] = subtracts;
  root["base"] = {{"name", adapter.base_name}, {"fingerprint", adapter.base_fingerprint}};
  root["covariances"] = adapter.covariance_fingerprints;
  if (!adapter.template_name.empty()) {
    root["template"] = {{"name", adapter.template_name}, {"chat_template", adapter.chat_template}};
  }
  root["layers"] = Json::object();
  for (const auto& [module, report] : adapter.reports) root["layers"][module] = to_json(report);
  return root;
}

}  // namespace

void write_adapter(const fs::path& directory, const Adapter& adapter) {
  if (adapter.layers.empty())
    throw InternalError("[adapter::write_adapter] the adapter has no layers");
  const bool subtracts = subtracts_start(adapter);
  io::SafetensorsLayout layout = empty_layout();
  std::vector<std::string> modules;
  for (const auto& [module, layer] : adapter.layers) {
    check_layer(module, layer, adapter);
    declare(layout, module, {layer.b.size(0), layer.a.size(1)}, stored_rank(adapter, subtracts));
    if (layer.magnitude.defined())
      layout.declare(tensor_names(module).magnitude, io::DType::kF32, {layer.magnitude.numel()});
    modules.push_back(module);
  }
  core::require_disk_space(directory, layout.data_bytes());
  io::SafetensorsWriter writer(directory / "adapter_model.safetensors", std::move(layout));
  const auto put = [&](const std::string& name, const at::Tensor& tensor) {
    writer.write(name, io::tensor_bytes(tensor.to(at::kCPU, at::kFloat).contiguous()));
  };
  for (const auto& [module, layer] : adapter.layers) {
    const TensorNames names = tensor_names(module);
    const Factors factors = exported_factors(layer);
    put(names.a, factors.a);
    put(names.b, factors.b);
    if (layer.magnitude.defined()) put(names.magnitude, layer.magnitude.flatten());
  }
  writer.finish();
  write_adapter_notes(directory, adapter, modules, subtracts);
}

void write_adapter_notes(const fs::path& directory, const Adapter& adapter,
                         const std::vector<std::string>& modules, bool subtracts_start) {
  core::write_json(directory / "adapter_config.json",
                   to_json({.rank = stored_rank(adapter, subtracts_start),
                            .alpha = (subtracts_start ? 2 : 1) * adapter.alpha,
                            .dropout = adapter.dropout,
                            .use_dora = adapter.method == "dora",
                            .base_name = adapter.base_name,
                            .target_modules = target_modules(modules)}));
  core::write_json(directory / kNotes, notes_of(adapter, subtracts_start));
}

AdapterTensors::AdapterTensors(const fs::path& path, const std::map<std::string, Shape>& layers,
                               std::int64_t stored_rank)
    : file_(path, [&] {
        io::SafetensorsLayout layout = empty_layout();
        for (const auto& [module, shape] : layers) declare(layout, module, shape, stored_rank);
        return layout;
      }()) {}

void AdapterTensors::put(const std::string& module, const Factors& stored) {
  const TensorNames names = tensor_names(module);
  for (const auto& [name, tensor] : {std::pair(names.a, stored.a), std::pair(names.b, stored.b)}) {
    const io::TensorInfo* info = file_.find(name);
    if (info == nullptr || tensor.scalar_type() != at::kFloat || tensor.sizes() != info->shape) {
      throw InternalError(concat("[adapter::AdapterTensors::put] '", name, "' must be F32 ",
                                 info == nullptr ? "of the layout" : io::shape_string(info->shape),
                                 "; it is ", at::toString(tensor.scalar_type()), " ",
                                 tensor.sizes()));
    }
    file_.write(name, io::tensor_bytes(tensor));
  }
}

}  // namespace corda::adapter
