// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/trainable.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "adapter/check_rank.h"
#include "adapter/target_modules.h"
#include "corda/adapter/check_fit.h"
#include "corda/adapter/initialise.h"
#include "corda/card/card.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"
#include "corda/io/chat_template_file.h"
#include "corda/io/rewrite_checkpoint.h"
#include "corda/linalg/device.h"
#include "corda/model/adapt.h"
#include "corda/model/sites.h"
#include "corda/quant/quantise.h"
#include "train/choose_pass.h"
#include "train/sharded_base.h"

namespace corda::train {

using core::concat;

namespace {

[[noreturn]] void refuse_codes() {
  throw core::ConfigError(
      "method full trains the weights themselves, which codes do not hold; give the model in 16 "
      "bits and leave 'base' at auto");
}

model::Model load_sharded_base(const quant::ModelWeights& base,
                               const model::ModelDescription& described, model::LoadOptions options,
                               dist::World& world) {
  const auto sharded = std::make_shared<ShardedBase>(world);
  options.block_loaded = [&](std::int64_t layer, model::Block& block) {
    sharded->take(layer, block);
  };
  model::Model model = model::load_model(base, described, options);
  sharded->open();
  return model;
}

// A block at a time; what is outside of them is there whole meanwhile.
model::Model load_sharded_parameters(const quant::ModelWeights& base,
                                     const model::ModelDescription& described,
                                     model::LoadOptions options, ShardedParameters& sharded) {
  const ShardLayout& layout = sharded.layout();
  options.block_loaded = [&](std::int64_t layer, model::Block& block) {
    sharded.take(layout.block(layer), model::tensors_of(described, block));
  };
  model::Model model = model::load_model(base, described, options);
  const model::NamedTensors all = model.parameters();
  const auto behind = static_cast<std::ptrdiff_t>(layout.parts[layout.end()].places.size());
  sharded.take(layout.embedding(), {all.front()});
  sharded.take(layout.end(), {all.end() - behind, all.end()});
  sharded.open();
  return model;
}

// `split`: made where the parameters are split over ranks.
model::Model load(const TrainSettings& settings, const quant::ModelWeights& base, at::Device device,
                  Values values, core::Reporter& reporter, dist::World& world,
                  std::unique_ptr<ShardedParameters>& split) {
  const at::ScalarType compute = compute_type(settings.precision, device);
  // Full fine-tuning updates the weights themselves, so they are kept in fp32.
  const at::ScalarType weights = settings.method == "full" ? at::kFloat : compute;
  const bool loads = values == Values::kLoaded;
  model::LoadOptions options{.device = loads ? device : at::kMeta,
                             .weights = weights,
                             .compute = compute,
                             .base = quant::base_named(settings.base)};
  const auto described = model::describe_model(base, reporter, settings.assume_family);
  if (!loads || !settings.shard) return model::load_model(base, described, options);
  const bool full = settings.method == "full";
  if ((full ? world.size() : world.local_size()) == 1) {
    reporter.warn(concat("shard: there is one rank", full ? "" : " on this machine",
                         ", which holds everything"));
    return model::load_model(base, described, options);
  }
  if (!full) return load_sharded_base(base, described, options, world);
  if (base.quantised_layers() > 0) refuse_codes();
  split = std::make_unique<ShardedParameters>(world, described);
  return load_sharded_parameters(base, described, options, *split);
}

// The rank of a new adapter: the one that is set, which must fit, else a default that fits.
std::int64_t rank_for(const TrainSettings& settings, const std::vector<model::Linear*>& layers,
                      core::Reporter& reporter) {
  constexpr std::int64_t kDefaultRank = 128;
  std::vector<adapter::LayerSize> sizes;
  const adapter::LayerSize* narrowest = nullptr;
  const auto side = [](const adapter::LayerSize& size) {
    return std::min(size.out_features, size.in_features);
  };
  for (const model::Linear* layer : layers)
    sizes.push_back({layer->name, layer->weight.size(0), layer->weight.size(1)});
  for (const adapter::LayerSize& size : sizes)
    if (narrowest == nullptr || side(size) < side(*narrowest)) narrowest = &size;
  if (settings.lora.rank > 0) {
    adapter::check_rank(settings.lora.rank, sizes, "lora.rank", "lora.target_modules");
    return settings.lora.rank;
  }
  const std::int64_t rank = std::min(kDefaultRank, side(*narrowest));
  if (rank < kDefaultRank) {
    reporter.info(concat("the adapter has rank ", rank, ", as '", narrowest->module,
                         "' allows no more; lora.rank sets it"));
  }
  return rank;
}

adapter::LayerAdapter initial_layer(const TrainSettings& settings, const model::Linear& linear,
                                    std::int64_t rank, double scale) {
  const auto& weight = linear.weight;
  if (linear.device().is_meta()) {
    const auto fp32 = weight.options().dtype(at::kFloat);
    adapter::LayerAdapter layer;
    layer.a = at::empty({rank, weight.size(1)}, fp32);
    layer.b = at::empty({weight.size(0), rank}, fp32);
    if (settings.method == "pissa") {
      layer.a0 = layer.a;
      layer.b0 = layer.b;
    }
    if (settings.method == "dora") layer.magnitude = at::empty({weight.size(0)}, fp32);
    return layer;
  }
  if (settings.method == "pissa")
    return adapter::initialise_pissa(model::weight_of(linear).to(at::kFloat), rank, scale);
  auto layer = adapter::initialise_lora(weight.size(0), weight.size(1), rank,
                                        static_cast<std::uint64_t>(settings.seed), linear.name);
  if (settings.method == "dora")
    layer.magnitude = adapter::dora_magnitude(model::weight_of(linear).to(at::kFloat));
  return layer;
}

constexpr const char* kTargets = "lora.target_modules";

// The layers that `lora.target_modules` names; where it names none, every one of a block.
std::vector<std::string> targets_in(const TrainSettings& settings,
                                    const std::vector<std::string>& layers) {
  const auto& names = settings.lora.target_modules;
  return adapter::select_targets(
      kTargets, names.empty() ? std::vector<std::string>{adapter::kAllLinear} : names, layers);
}

std::vector<model::Linear*> chosen_layers(const TrainSettings& settings, model::Model& model) {
  const auto names = targets_in(settings, model::layers_of_blocks(model.config));
  const std::set<std::string> chosen(names.begin(), names.end());
  std::vector<model::Linear*> layers = model.linear_layers();
  std::erase_if(layers, [&](const model::Linear* layer) { return !chosen.contains(layer->name); });
  return layers;
}

// `ranks`: of layers that have another than the settings'.
adapter::Adapter new_adapter(const TrainSettings& settings, model::Model& model,
                             const std::map<std::string, std::int64_t>& ranks,
                             core::Reporter& reporter) {
  adapter::Adapter result;
  result.method = settings.method;
  const auto selected = chosen_layers(settings, model);
  result.rank = rank_for(settings, selected, reporter);
  result.alpha = settings.lora.alpha > 0 ? settings.lora.alpha : static_cast<double>(result.rank);
  if (settings.lora.use_rslora) result.alpha *= std::sqrt(static_cast<double>(result.rank));
  result.dropout = std::max(settings.lora.dropout, 0.0);
  reporter.begin("initialise", static_cast<std::int64_t>(selected.size()), "layer");
  for (const model::Linear* linear : selected) {
    const auto own = ranks.find(linear->name);
    const std::int64_t rank = own == ranks.end() ? result.rank : own->second;
    result.layers[linear->name] = initial_layer(settings, *linear, rank, result.scale());
    reporter.advance(1, linear->name);
  }
  reporter.end();
  return result;
}

// The shortest list of target modules that names the adapter's layers alone: last name parts where
// every block has the same, else whole names.
std::vector<std::string> targets_of(const adapter::Adapter& adapter,
                                    const model::ModelDescription& config) {
  std::vector<std::string> modules;
  for (const auto& [name, layer] : adapter.layers) modules.push_back(name);
  std::set<std::string> adapted;
  for (const auto& name : modules) adapted.emplace(core::last_part(name));
  const auto all = model::layers_of_blocks(config);
  auto leaves = adapter::expand_targets(kTargets, {adapter::kAllLinear}, all);
  std::erase_if(leaves, [&](const std::string& leaf) { return !adapted.contains(leaf); });
  if (leaves.empty()) return modules;
  auto named = adapter::select_targets(kTargets, leaves, all);
  std::sort(named.begin(), named.end());
  return named == modules ? leaves : modules;
}

// A given adapter has the layers that it has; the setting may only agree.
void check_targets(const TrainSettings& settings, const model::Model& model,
                   const adapter::Adapter& adapter) {
  if (settings.lora.target_modules.empty()) return;
  std::set<std::string> there;
  for (const auto& [name, layer] : adapter.layers) there.insert(name);
  const auto wanted = targets_in(settings, model::layers_of_blocks(model.config));
  if (std::set<std::string>(wanted.begin(), wanted.end()) == there) return;
  throw core::ConfigError(concat(kTargets, " is ", core::listed(settings.lora.target_modules),
                                 ", but the adapter '", settings.adapter, "' has ",
                                 core::listed(targets_of(adapter, model.config)),
                                 "; remove the setting, or make the adapter again"));
}

adapter::Adapter given_adapter(const TrainSettings& settings, const model::Model& model,
                               const quant::ModelWeights& base, core::Reporter& reporter) {
  adapter::Adapter result = adapter::read_adapter_for(settings.adapter, base, reporter);
  adapter::check_held(result, settings.base, "set base: ");
  if (result.method != settings.method) {
    throw core::ConfigError(concat("method ", settings.method, ": '", settings.adapter,
                                   "' is an adapter of method ", result.method));
  }
  if (settings.lora.rank > 0 && settings.lora.rank != result.rank) {
    throw core::ConfigError(concat("lora.rank is ", settings.lora.rank, ", but the adapter '",
                                   settings.adapter, "' has rank ", result.rank,
                                   "; remove the setting, or decompose again at that rank"));
  }
  if (settings.lora.alpha > 0 && settings.lora.alpha != result.alpha) {
    throw core::ConfigError(concat("lora.alpha is ", settings.lora.alpha, ", but the adapter '",
                                   settings.adapter, "' was made with alpha ", result.alpha,
                                   "; remove the setting, or make the adapter again"));
  }
  check_targets(settings, model, result);
  if (settings.lora.dropout >= 0) result.dropout = settings.lora.dropout;
  return result;
}

}  // namespace

at::ScalarType compute_type(const std::string& precision, at::Device device) {
  return precision == "fp8" ? at::kBFloat16 : linalg::dtype_of(precision, device);
}

model::Model trainable_shapes(const TrainSettings& settings,
                              const model::ModelDescription& description, at::ScalarType compute,
                              const std::map<std::string, std::int64_t>& ranks,
                              const quant::ModelWeights* files, core::Reporter& reporter) {
  const bool full = settings.method == "full";
  const at::ScalarType weights = full ? at::kFloat : compute;
  const auto options = at::TensorOptions().device(at::kMeta).dtype(weights);
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, shape] : model::expected_tensors(description))
    tensors[name] = at::empty(shape, options);
  model::Model model = model::model_without_weights(
      description, {.device = at::kMeta, .weights = weights, .compute = compute});
  const auto load = [&](const std::string& name) { return tensors.at(name); };
  for (std::int64_t layer = 0; layer < description.num_layers(); ++layer)
    model.blocks[static_cast<std::size_t>(layer)] = model::make_block(description, layer, load);
  const std::int64_t hidden = description.hidden_size;
  model.embedding = at::empty({description.vocab_size, hidden}, options);
  model.final_norm = at::empty({hidden}, options);
  if (!description.tied) model.head.weight = at::empty({description.vocab_size, hidden}, options);
  if (full) {
    for (auto& [name, tensor] : model.parameters()) tensor->set_requires_grad(true);
    return model;
  }
  for (model::Linear* linear : model.linear_layers()) {
    model::PackedLinear packed;
    const auto held = settings.base == "auto" && files != nullptr
                          ? files->packed(linear->name + ".weight")
                          : std::nullopt;
    if (asks_for_codes(settings)) {
      packed.codes = quant::quantise(linear->weight, {.base = quant::base_named(settings.base)});
    } else if (held) {
      packed.codes = held->to(at::kMeta);
    } else if (settings.shard) {
      packed.values = linear->weight;
    } else {
      continue;
    }
    linear->packed = std::make_shared<const model::PackedLinear>(std::move(packed));
  }
  adapter::Adapter adapter = new_adapter(settings, model, ranks, reporter);
  adapter.train_a = true;  // which factors are equal is in their numbers
  adapter.train_b = settings.train_b != "false";
  model::attach_trainable(model, adapter);
  if (settings.train_a == "false") {
    for (model::Linear* linear : model.linear_layers())
      if (linear->low_rank) linear->low_rank->a.set_requires_grad(false);
  }
  return model;
}

const std::string& Trainable::base_fingerprint() const {
  if (base_fingerprint_.empty()) base_fingerprint_ = base_.fingerprint();
  return base_fingerprint_;
}

Trainable::Trainable(const TrainSettings& settings, at::Device device, core::Reporter& reporter,
                     Values values, dist::World& world)
    : base_(quant::open_model(settings.model, reporter)),
      model_(load(settings, base_, device, values, reporter, world, sharded_)),
      full_(settings.method == "full") {
  if (full_) {
    if (asks_for_codes(settings) || base_.quantised_layers() > 0) refuse_codes();
    for (auto& [name, tensor] : model_.parameters()) tensor->set_requires_grad(true);
    if (settings.lora.rank > 0 || settings.lora.alpha > 0 || settings.lora.dropout > 0 ||
        settings.lora.use_rslora || !settings.lora.target_modules.empty())
      reporter.warn("method full has no adapter: 'lora' is without effect");
    io::note_left_behind(base_.files(), "trained", reporter);
    return;
  }
  adapter_ = settings.adapter.empty() ? new_adapter(settings, model_, {}, reporter)
                                      : given_adapter(settings, model_, base_, reporter);
  if (!settings.adapter.empty())
    start_fingerprint_ = io::Checkpoint(settings.adapter, "adapter_model").fingerprint();
  if (values == Values::kLoaded) adapter_.base_fingerprint = base_fingerprint();
  adapter_.base_name = settings.model;
  adapter_.base_format = asks_for_codes(settings) ? settings.base : "";
  adapter_.base_blocks = model_.config.num_layers();
  if (settings.train_a != "auto") adapter_.train_a = settings.train_a == "true";
  if (settings.train_b != "auto") adapter_.train_b = settings.train_b == "true";
  if (!adapter_.train_a && !adapter_.train_b) {
    throw core::ConfigError(concat(
        "neither A nor B would be trained: the adapter '", settings.adapter, "' keeps ",
        settings.train_a == "false" ? "B as it is, and train_a is" : "A as it is, and train_b is",
        " false; set one of train_a and train_b to true"));
  }
  adapter::Adapter attached = adapter_;
  // Whether factors that stay as they are are equal, and so can be held once, is in their numbers.
  if (values == Values::kShapesOnly) attached.train_a = true;
  model::attach_trainable(model_, attached);
}

std::vector<std::pair<std::string, at::Tensor>> Trainable::parameters() {
  if (sharded_) return sharded_->pieces();
  std::vector<std::pair<std::string, at::Tensor>> result;
  if (full_) {
    for (auto& [name, tensor] : model_.parameters()) result.emplace_back(name, *tensor);
    return result;
  }
  for (model::Linear* linear : model_.linear_layers()) {
    if (!linear->low_rank) continue;
    if (adapter_.train_a) result.emplace_back(linear->name + ".lora_A", linear->low_rank->a);
    if (adapter_.train_b) result.emplace_back(linear->name + ".lora_B", linear->low_rank->b);
    if (linear->low_rank->magnitude.defined())
      result.emplace_back(linear->name + ".magnitude", linear->low_rank->magnitude);
  }
  return result;
}

TrainSettings Trainable::resolve(TrainSettings settings) const {
  if (settings.precision != "fp8") settings.precision = linalg::name_of(model_.compute);
  if (full_) return settings;
  settings.lora.rank = adapter_.rank;
  settings.lora.alpha = adapter_.alpha;
  settings.lora.use_rslora = false;  // alpha has the root of the rank in it
  settings.lora.dropout = adapter_.dropout;
  settings.train_a = adapter_.train_a ? "true" : "false";
  settings.train_b = adapter_.train_b ? "true" : "false";
  // One list of names for whatever means the same.
  settings.lora.target_modules = targets_of(adapter_, model_.config);
  return settings;
}

void Trainable::set_template(std::string name, std::string chat_template) {
  adapter_.template_name = std::move(name);
  adapter_.chat_template = std::move(chat_template);
}

std::int64_t Trainable::saved_bytes() const {
  constexpr std::int64_t kOtherFiles = std::int64_t{1} << 20;  // JSON, and a chat template
  std::int64_t bytes = kOtherFiles;
  if (full_) {
    for (const std::string& name : base_.names()) bytes += base_.info(name).bytes;
    return bytes;
  }
  for (const auto& [name, layer] : adapter_.layers) {
    const std::int64_t factors = layer.a.numel() + layer.b.numel();
    bytes += 4 * (layer.subtracts_start() ? 2 * factors : factors);
    if (layer.magnitude.defined()) bytes += 4 * layer.magnitude.numel();
  }
  return bytes;
}

void Trainable::save_model(const std::filesystem::path& directory, TrainedState& state) {
  std::map<std::string, std::string> parameters;
  for (const auto& [name, tensor] : model_.parameters()) parameters[name] = name;
  // Old files may hold a copy of a tied head; it follows the embedding.
  if (model_.config.tied) parameters["lm_head.weight"] = model_.parameters().front().first;
  io::rewrite_checkpoint(base_.files(), directory, [&](const std::string& name) {
    const auto found = parameters.find(io::Checkpoint::canonical_name(name));
    return found == parameters.end() ? at::Tensor() : state.parameter(found->second);
  });
  if (!adapter_.chat_template.empty()) io::write_chat_template(directory, adapter_.chat_template);
}

void Trainable::save(const std::filesystem::path& out, TrainedState& state, bool replace,
                     const std::string& card) {
  core::AtomicDirectory directory(out, replace);
  if (full_) {
    save_model(directory.staging(), state);
  } else {
    for (model::Linear* linear : model_.linear_layers()) {
      if (!linear->low_rank) continue;
      adapter::LayerAdapter& layer = adapter_.layers.at(linear->name);
      layer.a = linear->low_rank->a.detach().cpu();
      layer.b = linear->low_rank->b.detach().cpu();
      if (linear->low_rank->magnitude.defined())
        layer.magnitude = linear->low_rank->magnitude.detach().cpu();
    }
    adapter::write_adapter(directory.staging(), adapter_);
  }
  if (!card.empty()) card::write(directory.staging(), card);
  directory.commit();
}

}  // namespace corda::train
