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
#include "corda/core/hub_cache.h"
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

std::int64_t stored(std::int64_t rank, bool subtracts) { return subtracts ? 2 * rank : rank; }

io::SafetensorsLayout empty_layout() {
  return io::SafetensorsLayout(std::map<std::string, std::string>{{"format", "pt"}});
}

void declare(io::SafetensorsLayout& layout, const std::string& module,
             const AdapterTensors::Shape& shape, io::DType dtype = io::DType::kF32) {
  const TensorNames names = tensor_names(module);
  layout.declare(names.a, dtype, {shape.stored_rank, shape.in_features});
  layout.declare(names.b, dtype, {shape.out_features, shape.stored_rank});
}

void check_layer(const std::string& module, const LayerAdapter& layer, const Adapter& adapter) {
  const auto shape = [](const at::Tensor& t) {
    return t.defined() ? concat(t.sizes()) : std::string("undefined");
  };
  const bool factors = layer.a.defined() && layer.b.defined() && layer.a.dim() == 2 &&
                       layer.b.dim() == 2 && layer.a.size(0) > 0 &&
                       layer.b.size(1) == layer.a.size(0);
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

// The prefix of the text tower in models that see; other towers have layers of the same last names.
constexpr std::string_view kTextTower = "language_model.";

// Says which modules have tensors. Leaf names ("q_proj"), which every tool knows, where each
// adapted block has the same leaves, and the blocks where they are not known to be all of the base;
// else full names, since a leaf name would make PEFT adapt modules that have no tensors.
void select(const std::vector<std::string>& modules, std::int64_t base_blocks, PeftConfig& config) {
  std::map<std::string, std::set<std::int64_t>> blocks_of_leaf;
  std::set<std::int64_t> blocks;
  bool numbered = true;
  for (const auto& module : modules) {
    const std::optional<std::int64_t> block = block_of(module);
    numbered = numbered && block;
    blocks.insert(block.value_or(-1));
    blocks_of_leaf[std::string(core::last_part(module))].insert(block.value_or(-1));
  }
  std::set<std::string> leaves_and_blocks;  // two modules of one leaf in a block need full names
  for (const auto& module : modules)
    leaves_and_blocks.insert(concat(core::last_part(module), " ", block_of(module).value_or(-1)));
  const bool regular =
      numbered && leaves_and_blocks.size() == modules.size() &&
      std::all_of(blocks_of_leaf.begin(), blocks_of_leaf.end(),
                  [&](const auto& entry) { return entry.second.size() == blocks.size(); });
  if (!regular) {
    config.target_modules = modules;
    return;
  }
  for (const auto& [leaf, where] : blocks_of_leaf) config.target_modules.push_back(leaf);
  const bool in_tower = std::all_of(modules.begin(), modules.end(), [](const std::string& module) {
    return module.find(kTextTower) != std::string::npos;
  });
  if (in_tower) config.exclude_modules = R"((?!(.*\.)?language_model\.).*)";
  if (static_cast<std::int64_t>(blocks.size()) != base_blocks)
    config.layers_to_transform = {blocks.begin(), blocks.end()};
}

Json notes_of(const Adapter& adapter, bool subtracts) {
  Json root;
  root["version"] = kNotesVersion;
  root["method"] = adapter.method;
  root["mode"] = adapter.mode;
  root["rank"] = adapter.rank;
  root["alpha"] = adapter.alpha;
  root["train_a"] = adapter.train_a;
  root["train_b"] = adapter.train_b;
  root["subtracts_start"] = subtracts;
  root["base"] = {{"name", core::hub_name_of(adapter.base_name)},
                  {"fingerprint", adapter.base_fingerprint}};
  if (!adapter.base_format.empty()) root["base"]["format"] = adapter.base_format;
  if (adapter.corrects_base) root["base"]["corrected"] = true;
  root["covariances"] = adapter.covariance_fingerprints;
  if (!adapter.template_name.empty()) {
    root["template"] = {{"name", adapter.template_name}, {"chat_template", adapter.chat_template}};
  }
  root["layers"] = Json::object();
  for (const auto& [module, report] : adapter.reports) root["layers"][module] = to_json(report);
  return root;
}

}  // namespace

void write_adapter(const fs::path& directory, const Adapter& adapter, io::DType dtype) {
  if (adapter.layers.empty())
    throw InternalError("[adapter::write_adapter] the adapter has no layers");
  const bool subtracts = subtracts_start(adapter);
  io::SafetensorsLayout layout = empty_layout();
  std::map<std::string, LayerScale> scales;
  for (const auto& [module, layer] : adapter.layers) {
    check_layer(module, layer, adapter);
    declare(layout, module,
            {.out_features = layer.b.size(0),
             .in_features = layer.a.size(1),
             .stored_rank = stored(layer.rank(), subtracts)},
            dtype);
    if (layer.magnitude.defined())
      layout.declare(tensor_names(module).magnitude, dtype, {layer.magnitude.numel()});
    scales[module] = {.rank = layer.rank(), .alpha = layer.alpha.value_or(adapter.alpha)};
  }
  core::require_disk_space(directory, layout.data_bytes());
  io::SafetensorsWriter writer(directory / "adapter_model.safetensors", std::move(layout));
  const auto put = [&](const std::string& name, const at::Tensor& tensor) {
    writer.write(name,
                 io::tensor_bytes(tensor.to(at::kCPU, io::to_scalar_type(dtype)).contiguous()));
  };
  for (const auto& [module, layer] : adapter.layers) {
    const TensorNames names = tensor_names(module);
    const Factors factors = exported_factors(layer);
    put(names.a, factors.a);
    put(names.b, factors.b);
    if (layer.magnitude.defined()) put(names.magnitude, layer.magnitude.flatten());
  }
  writer.finish();
  write_adapter_notes(directory, adapter, scales, subtracts);
}

void write_adapter_notes(const fs::path& directory, const Adapter& adapter,
                         const std::map<std::string, LayerScale>& layers, bool subtracts_start) {
  const double factor = subtracts_start ? 2 : 1;
  PeftConfig config{.rank = stored(adapter.rank, subtracts_start),
                    .alpha = factor * adapter.alpha,
                    .dropout = adapter.dropout,
                    .use_dora = adapter.method == "dora",
                    .base_name = core::hub_name_of(adapter.base_name),
                    .ranks = {},
                    .alphas = {}};
  std::vector<std::string> modules;
  for (const auto& [module, layer] : layers) {
    modules.push_back(module);
    if (layer.rank != adapter.rank)
      config.ranks.push_back({module, stored(layer.rank, subtracts_start)});
    if (layer.alpha != adapter.alpha) config.alphas.push_back({module, factor * layer.alpha});
  }
  select(modules, adapter.base_blocks, config);
  core::write_json(directory / "adapter_config.json", to_json(config));
  core::write_json(directory / kNotes, notes_of(adapter, subtracts_start));
}

AdapterTensors::AdapterTensors(const fs::path& path, const std::map<std::string, Shape>& layers)
    : file_(path, [&] {
        io::SafetensorsLayout layout = empty_layout();
        for (const auto& [module, shape] : layers) declare(layout, module, shape);
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

void write_first_components(const fs::path& stored_file, const fs::path& out,
                            const std::map<std::string, std::int64_t>& ranks,
                            bool subtracts_start) {
  const io::SafetensorsFile file(stored_file);
  io::SafetensorsLayout layout = empty_layout();
  const auto extent = [&](const std::string& name, std::size_t dimension) {
    return file.tensors().at(name).shape.at(dimension);
  };
  for (const auto& [module, rank] : ranks) {
    if (rank == 0) continue;
    const TensorNames names = tensor_names(module);
    declare(layout, module,
            {.out_features = extent(names.b, 0),
             .in_features = extent(names.a, 1),
             .stored_rank = stored(rank, subtracts_start)});
  }
  core::require_disk_space(out.parent_path(), layout.data_bytes());
  io::SafetensorsWriter writer(out, std::move(layout));
  for (const auto& [module, rank] : ranks) {
    if (rank == 0) continue;
    const TensorNames names = tensor_names(module);
    for (const auto& [name, dimension] : {std::pair(names.a, 0), std::pair(names.b, 1)}) {
      const at::Tensor whole = io::view_tensor(file, name);
      at::Tensor first = whole.narrow(dimension, 0, rank);
      // Behind the trained factors stand those of the start.
      if (subtracts_start) {
        const std::int64_t half = whole.size(dimension) / 2;
        first = at::cat({first, whole.narrow(dimension, half, rank)}, dimension);
      }
      writer.write(name, io::tensor_bytes(first.contiguous()));
    }
  }
  writer.finish();
}

}  // namespace corda::adapter
