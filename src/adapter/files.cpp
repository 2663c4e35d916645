// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The adapter directory: adapter_config.json and adapter_model.safetensors for everyone, corda.json
// for us.
#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <set>

#include "adapter/peft_config.h"
#include "corda/adapter/adapter.h"
#include "corda/adapter/adapter_reader.h"
#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/io/tensor.h"
#include "core/fields.h"

namespace corda::adapter {

using core::concat;
using core::FormatError;
using core::InternalError;
using core::Json;

namespace {

constexpr std::int64_t kVersion = 1;
constexpr std::string_view kPrefix = "base_model.model.";
constexpr const char* kNotes = "corda.json";

bool subtracts_start(const Adapter& adapter) {
  return !adapter.layers.empty() && adapter.layers.begin()->second.subtracts_start();
}

std::int64_t stored_rank(const Adapter& adapter, bool subtracts) {
  return subtracts ? 2 * adapter.rank : adapter.rank;
}

AdapterReader::Entry tensor_names(const std::string& module) {
  const std::string name = concat(kPrefix, module);
  return {.a = name + ".lora_A.weight",
          .b = name + ".lora_B.weight",
          .magnitude = name + ".lora_magnitude_vector"};
}

io::SafetensorsLayout empty_layout() {
  return io::SafetensorsLayout(std::map<std::string, std::string>{{"format", "pt"}});
}

void declare(io::SafetensorsLayout& layout, const std::string& module,
             const AdapterTensors::Shape& shape, std::int64_t stored_rank) {
  const AdapterReader::Entry names = tensor_names(module);
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
  root["version"] = kVersion;
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
  for (const auto& [module, report] : adapter.reports) {
    root["layers"][module] = {{"rank", report.rank},
                              {"energy", report.energy},
                              {"total_energy", report.total_energy},
                              {"damping", report.damping},
                              {"tokens", report.tokens}};
    if (report.route.empty()) continue;
    root["layers"][module]["route"] = report.route;
    root["layers"][module]["bound"] = report.bound;
    if (!report.refused.empty()) root["layers"][module]["refused"] = report.refused;
  }
  return root;
}

void read_reports(const Json& layers, const std::string& source, Adapter& adapter) {
  for (const auto& [module, entry] : layers.items()) {
    const core::Fields report(entry, concat(source, ": layer '", module, "'"));
    adapter.reports[module] = {.rank = report.integer("rank"),
                               .energy = report.number("energy"),
                               .total_energy = report.number("total_energy"),
                               .damping = report.number("damping"),
                               .tokens = report.integer("tokens"),
                               .route = report.has("route") ? report.text("route") : "",
                               .bound = report.has("bound") ? report.number("bound") : 1,
                               .refused = report.has("refused") ? report.text("refused") : ""};
  }
}

// Fills what corda.json says; true where the stored product subtracts the start.
bool read_notes(const fs::path& path, const PeftConfig& config, Adapter& adapter) {
  const std::string source = concat("'", path.string(), "'");
  const Json root = core::read_json(path);
  const core::Fields notes(root, source);
  if (const std::int64_t version = notes.integer("version"); version != kVersion) {
    throw FormatError(concat(source, ": version ", version,
                             " was written by another corda; this one reads version ", kVersion));
  }
  adapter.method = notes.text("method");
  adapter.mode = notes.text("mode");
  adapter.rank = notes.integer("rank");
  adapter.alpha = notes.number("alpha");
  adapter.train_a = notes.boolean("train_a");
  const bool subtracts = notes.boolean("subtracts_start");
  const core::Fields base(notes.object("base"), concat(source, ": 'base'"));
  adapter.base_name = base.text("name");
  adapter.base_fingerprint = base.text("fingerprint");
  adapter.covariance_fingerprints = notes.texts("covariances");
  read_reports(notes.object("layers"), source, adapter);
  if (root.contains("template")) {
    const core::Fields used(notes.object("template"), concat(source, ": 'template'"));
    adapter.template_name = used.text("name");
    adapter.chat_template = used.text("chat_template");
  }
  const std::int64_t factor = subtracts ? 2 : 1;
  if (adapter.rank < 1 || config.rank % factor != 0 || config.rank / factor != adapter.rank ||
      config.alpha != static_cast<double>(factor) * adapter.alpha ||
      config.use_dora != (adapter.method == "dora")) {
    throw FormatError(concat(source, ": says method ", adapter.method, ", rank ", adapter.rank,
                             ", alpha ", adapter.alpha, subtracts ? ", start subtracted" : "",
                             ", but adapter_config.json says r ", config.rank, ", lora_alpha ",
                             config.alpha, config.use_dora ? ", DoRA" : "",
                             "; one of the two files was changed"));
  }
  return subtracts;
}

at::Tensor load_fp32(const io::Checkpoint& file, const std::string& name) {
  const io::DType dtype = file.info(name).dtype;
  if (dtype != io::DType::kF32 && dtype != io::DType::kF16 && dtype != io::DType::kBF16) {
    throw FormatError(concat("'", file.directory().string(), "': tensor '", name, "' is ",
                             io::to_string(dtype), "; an adapter must be F32, F16 or BF16"));
  }
  return io::view_tensor(file, name).to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
}

// The tensors of each module.
std::map<std::string, AdapterReader::Entry> index_tensors(const io::Checkpoint& file) {
  std::map<std::string, AdapterReader::Entry> entries;
  for (const auto& name : file.names()) {
    const auto module_before = [&](std::string_view suffix) -> std::optional<std::string> {
      if (!name.starts_with(kPrefix) || !name.ends_with(suffix) ||
          name.size() <= kPrefix.size() + suffix.size())
        return std::nullopt;
      return name.substr(kPrefix.size(), name.size() - kPrefix.size() - suffix.size());
    };
    if (const auto a = module_before(".lora_A.weight")) {
      entries[*a].a = name;
    } else if (const auto b = module_before(".lora_B.weight")) {
      entries[*b].b = name;
    } else if (const auto m = module_before(".lora_magnitude_vector")) {
      entries[*m].magnitude = name;
    } else if (const auto old =
                   module_before(".lora_magnitude_vector.weight")) {  // older versions of PEFT
      entries[*old].magnitude = name;
    } else {
      throw FormatError(concat("'", file.directory().string(),
                               "': the adapter holds a tensor corda cannot apply: '", name, "'"));
    }
  }
  if (entries.empty())
    throw FormatError(concat("'", file.directory().string(), "': the adapter holds no tensors"));
  return entries;
}

void check_entry(const std::string& module, const AdapterReader::Entry& entry,
                 const PeftConfig& config, const io::Checkpoint& file) {
  using Shape = std::vector<std::int64_t>;
  const auto shape = [&](const std::string& name) {
    return name.empty() ? Shape() : file.info(name).shape;
  };
  const auto text = [&](const std::string& name) {
    return name.empty() ? std::string("missing") : io::shape_string(shape(name));
  };
  const Shape a = shape(entry.a);
  const Shape b = shape(entry.b);
  const bool factors = a.size() == 2 && b.size() == 2 && a[0] == config.rank && b[1] == config.rank;
  std::int64_t elements = 1;
  for (const std::int64_t extent : shape(entry.magnitude)) elements *= extent;
  const bool magnitude = factors && entry.magnitude.empty() != config.use_dora &&
                         (!config.use_dora || elements == b[0]);
  if (factors && magnitude) return;
  throw FormatError(concat(
      "'", file.directory().string(), "': module '", module, "' must have lora_A [", config.rank,
      ", in], lora_B [out, ", config.rank, "]", config.use_dora ? " and" : " and no",
      " lora_magnitude_vector [out]; it has lora_A ", text(entry.a), ", lora_B ", text(entry.b),
      ", lora_magnitude_vector ", text(entry.magnitude)));
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
    const AdapterReader::Entry names = tensor_names(module);
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
  const AdapterReader::Entry names = tensor_names(module);
  file_.write(names.a, io::tensor_bytes(stored.a));
  file_.write(names.b, io::tensor_bytes(stored.b));
}

AdapterReader::AdapterReader(const fs::path& directory) {
  const PeftConfig config = read_peft_config(directory);
  header_.method = config.use_dora ? "dora" : "lora";
  header_.rank = config.rank;
  header_.alpha = config.alpha;
  header_.dropout = config.dropout;
  header_.base_name = config.base_name;
  subtracts_start_ =
      fs::exists(directory / kNotes) && read_notes(directory / kNotes, config, header_);
  if (!fs::exists(directory / "adapter_model.safetensors") &&
      fs::exists(directory / "adapter_model.bin")) {
    throw FormatError(concat("'", directory.string(),
                             "' holds adapter_model.bin, a pickle, which corda does not read; save "
                             "the adapter as safetensors"));
  }
  file_ = std::make_unique<io::Checkpoint>(directory, "adapter_model");
  entries_ = index_tensors(*file_);
  for (const auto& [module, entry] : entries_) {
    check_entry(module, entry, config, *file_);
    modules_.push_back(module);
  }
}

std::array<std::int64_t, 2> AdapterReader::weight_shape(const std::string& module) const {
  const Entry& entry = entries_.at(module);
  return {file_->info(entry.b).shape[0], file_->info(entry.a).shape[1]};
}

LayerAdapter AdapterReader::layer(const std::string& module) const {
  const Entry& entry = entries_.at(module);
  const std::int64_t rank = header_.rank;
  const at::Tensor a = load_fp32(*file_, entry.a);
  const at::Tensor b = load_fp32(*file_, entry.b);
  LayerAdapter layer;
  if (!subtracts_start_) {
    layer.a = a;
    layer.b = b;
    if (!entry.magnitude.empty()) layer.magnitude = load_fp32(*file_, entry.magnitude).flatten();
    return layer;
  }
  layer.a = a.narrow(0, 0, rank).clone();
  layer.a0 = layer.a - a.narrow(0, rank, rank);
  layer.b0 = b.narrow(1, rank, rank).contiguous();
  layer.b = b.narrow(1, 0, rank) + layer.b0;
  return layer;
}

Adapter read_adapter(const fs::path& directory) {
  const AdapterReader reader(directory);
  Adapter adapter = reader.header();
  for (const auto& module : reader.modules()) adapter.layers[module] = reader.layer(module);
  return adapter;
}

}  // namespace corda::adapter
