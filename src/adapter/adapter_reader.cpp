// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/adapter/adapter_reader.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "adapter/file_layout.h"
#include "adapter/layer_report.h"
#include "adapter/peft_config.h"
#include "corda/core/error.h"
#include "corda/io/tensor.h"
#include "core/fields.h"

namespace corda::adapter {

using core::concat;
using core::FormatError;
using core::Json;

namespace {

// Fills what corda.json says; true where the stored product subtracts the start.
bool read_notes(const fs::path& path, const PeftConfig& config, Adapter& adapter) {
  const std::string source = concat("'", path.string(), "'");
  const Json root = core::read_json(path);
  const core::Fields notes(root, source);
  if (const std::int64_t version = notes.integer("version"); version != kNotesVersion) {
    throw FormatError(concat(source, ": version ", version,
                             " was written by another corda; this one reads version ",
                             kNotesVersion));
  }
  adapter.method = notes.text("method");
  adapter.mode = notes.text("mode");
  adapter.rank = notes.integer("rank");
  adapter.alpha = notes.number("alpha");
  adapter.train_a = notes.boolean("train_a");
  if (notes.has("train_b")) adapter.train_b = notes.boolean("train_b");
  const bool subtracts = notes.boolean("subtracts_start");
  const core::Fields base(notes.object("base"), concat(source, ": 'base'"));
  adapter.base_name = base.text("name");
  adapter.base_fingerprint = base.text("fingerprint");
  if (notes.object("base").contains("format")) adapter.base_format = base.text("format");
  if (base.has("corrected")) adapter.corrects_base = base.boolean("corrected");
  adapter.covariance_fingerprints = notes.texts("covariances");
  for (const auto& [module, entry] : notes.object("layers").items()) {
    adapter.reports[module] =
        layer_report_of(core::Fields(entry, concat(source, ": layer '", module, "'")));
  }
  if (root.contains("template")) {
    const core::Fields used(notes.object("template"), concat(source, ": 'template'"));
    adapter.template_name = used.text("name");
    adapter.chat_template = used.text("chat_template");
  }
  const std::int64_t factor = subtracts ? 2 : 1;
  const double alpha = config.scaling_alpha(config.alpha, config.rank);
  if (adapter.rank < 1 || config.rank % factor != 0 || config.rank / factor != adapter.rank ||
      alpha != static_cast<double>(factor) * adapter.alpha ||
      config.use_dora != (adapter.method == "dora")) {
    throw FormatError(concat(
        source, ": says method ", adapter.method, ", rank ", adapter.rank, ", alpha ",
        adapter.alpha, subtracts ? ", start subtracted" : "", ", but adapter_config.json says r ",
        config.rank, ", lora_alpha ", config.alpha, config.use_rslora ? ", use_rslora" : "",
        config.use_dora ? ", DoRA" : "", "; one of the two files was changed"));
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

// What is wrong with a module's factors, in the rest of a sentence about it; "" for nothing.
std::string problem_of_factors(const std::vector<std::int64_t>& a,
                               const std::vector<std::int64_t>& b, std::int64_t rank) {
  if (a.empty() || b.empty())
    return concat("has no ", a.empty() ? "lora_A" : "lora_B", "; is the file whole?");
  const std::string shapes =
      concat("lora_A ", io::shape_string(a), " and lora_B ", io::shape_string(b));
  if (a.size() != 2 || b.size() != 2)
    return concat("has ", shapes, ", which must be matrices, [r, in] and [out, r]");
  if (a[0] != b[1])
    return concat("has ", shapes, ", whose ranks, ", a[0], " and ", b[1], ", do not agree");
  if (a[0] == rank) return "";
  return concat("has rank ", a[0], " (", shapes, "), but adapter_config.json says ", rank,
                " (r or rank_pattern); correct it, or take the configuration that was saved with "
                "these tensors");
}

// What is wrong with its magnitude, likewise; DoRA has one and LoRA has none.
std::string problem_of_magnitude(const std::vector<std::int64_t>& magnitude, bool is_there,
                                 std::int64_t out_features, bool use_dora) {
  if (is_there != use_dora) {
    return use_dora ? "has no lora_magnitude_vector, but adapter_config.json says use_dora"
                    : "has a lora_magnitude_vector, but adapter_config.json does not say use_dora";
  }
  std::int64_t elements = 1;
  for (const std::int64_t extent : magnitude) elements *= extent;
  if (!is_there || elements == out_features) return "";
  return concat("has lora_magnitude_vector ", io::shape_string(magnitude), " for ", out_features,
                " rows of lora_B");
}

void check_entry(const std::string& module, const AdapterReader::Entry& entry,
                 const PeftConfig& config, bool subtracts, const io::Checkpoint& file) {
  using Shape = std::vector<std::int64_t>;
  const auto shape = [&](const std::string& name) {
    return name.empty() ? Shape() : file.info(name).shape;
  };
  const std::int64_t rank = config.rank_of(module);
  if (subtracts && rank % 2 != 0) {
    throw FormatError(concat("'", file.directory().string(), "': layer '", module, "' has rank ",
                             rank,
                             ", but the start is subtracted (corda.json), which needs an even "
                             "one; one of the two files was changed"));
  }
  std::string problem = problem_of_factors(shape(entry.a), shape(entry.b), rank);
  if (problem.empty()) {
    problem = problem_of_magnitude(shape(entry.magnitude), !entry.magnitude.empty(),
                                   shape(entry.b)[0], config.use_dora);
  }
  if (problem.empty()) return;
  throw FormatError(concat("'", file.directory().string(), "': layer '", module, "' ", problem));
}

// PEFT makes adapters for the target modules alone and drops other tensors of the file.
void check_target(const std::string& module, const PeftConfig& config, const fs::path& directory) {
  if (config.selection.contains(module)) return;
  throw FormatError(
      concat("'", directory.string(), "': it holds tensors of '", module,
             "', which 'target_modules' of adapter_config.json leaves out (or exclude_modules, "
             "layers_to_transform); PEFT would drop them; correct one of the two"));
}

}  // namespace

AdapterReader::AdapterReader(const fs::path& directory)
    : config_(std::make_shared<const PeftConfig>(read_peft_config(directory))) {
  const PeftConfig& config = *config_;
  header_.method = config.use_dora ? "dora" : "lora";
  header_.rank = config.rank;
  header_.alpha = config.scaling_alpha(config.alpha, config.rank);
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
  index_tensors();
  for (const auto& [module, entry] : entries_) {
    check_entry(module, entry, config, subtracts_start_, *file_);
    check_target(module, config, directory);
    modules_.push_back(module);
  }
}

// Finds the tensors of each module.
void AdapterReader::index_tensors() {
  const std::string directory = file_->directory().string();
  for (const auto& name : file_->names()) {
    const auto module_before = [&](std::string_view suffix) -> std::optional<std::string> {
      if (!name.starts_with(kPrefix) || !name.ends_with(suffix) ||
          name.size() <= kPrefix.size() + suffix.size())
        return std::nullopt;
      return name.substr(kPrefix.size(), name.size() - kPrefix.size() - suffix.size());
    };
    const std::string whole = module_before("").value_or("");
    if (const auto a = module_before(".lora_A.weight")) {
      entries_[*a].a = name;
    } else if (const auto b = module_before(".lora_B.weight")) {
      entries_[*b].b = name;
    } else if (const auto m = module_before(".lora_magnitude_vector")) {
      entries_[*m].magnitude = name;
    } else if (const auto old =
                   module_before(".lora_magnitude_vector.weight")) {  // older versions of PEFT
      entries_[*old].magnitude = name;
    } else if (const auto base = module_before(".base_layer.weight")) {
      base_weights_[*base + ".weight"] = name;
    } else if (whole == kHeadWeight || whole == kEmbeddingWeight) {
      base_weights_[whole] = name;
    } else {
      throw FormatError(
          concat("'", directory, "': the adapter holds a tensor corda cannot apply: '", name, "'"));
    }
  }
  if (entries_.empty())
    throw FormatError(concat("'", directory, "': the adapter holds no tensors of a LoRA"));
}

std::vector<std::string> AdapterReader::missing(
    const std::vector<std::string>& linear_layers) const {
  std::vector<std::string> result;
  if (!config_->selection.speaks()) return result;
  for (const auto& module : linear_layers) {
    if (!contains(module) && config_->selection.contains(module)) result.push_back(module);
  }
  return result;
}

std::array<std::int64_t, 2> AdapterReader::weight_shape(const std::string& module) const {
  const Entry& entry = entries_.at(module);
  return {file_->info(entry.b).shape[0], file_->info(entry.a).shape[1]};
}

std::int64_t AdapterReader::rank_of(const std::string& module) const {
  return file_->info(entries_.at(module).a).shape[0] / (subtracts_start_ ? 2 : 1);
}

LayerAdapter AdapterReader::layer(const std::string& module) const {
  const Entry& entry = entries_.at(module);
  const at::Tensor a = load_fp32(*file_, entry.a);
  const at::Tensor b = load_fp32(*file_, entry.b);
  const double alpha = config_->alpha_of(module) / (subtracts_start_ ? 2 : 1);
  LayerAdapter layer;
  if (alpha != header_.alpha) layer.alpha = alpha;
  if (!subtracts_start_) {
    layer.a = a;
    layer.b = b;
    if (!entry.magnitude.empty()) layer.magnitude = load_fp32(*file_, entry.magnitude).flatten();
    return layer;
  }
  const std::int64_t rank = a.size(0) / 2;
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
