// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/kernels/copy_rows.h"
#include "corda/kernels/gemm.h"
#include "model/block_tensors.h"
#include "model/families.h"
#include "model/misfits.h"

namespace corda::model {

using core::concat;

namespace {

using Shape = std::vector<std::int64_t>;

constexpr const char* kHead = "lm_head";

// The block's layers by their names, without weights.
Block named_block(const ModelDescription& config, std::int64_t layer) {
  Block block;
  block.name = config.block_name(layer);
  const auto sites = config.sites();
  for (std::size_t i = 0; i < sites.size(); ++i) {
    for (const LayerDescription& described : sites[i]->layers) {
      Linear& linear = block.sites[i].emplace_back();
      linear.name = concat(block.name, ".", described.name);
    }
  }
  return block;
}

// Calls visit(name, shape, tensor) for every tensor that the block has, norms first.
template <typename Visit>
void for_each_tensor(const ModelDescription& config, Block& block, Visit visit) {
  const auto norm = [&](const std::string& name, std::int64_t width, at::Tensor& tensor) {
    if (!name.empty()) visit(concat(block.name, ".", name, ".weight"), Shape{width}, tensor);
  };
  const BlockNorms& norms = config.norms;
  norm(norms.before_attention, config.hidden_size, block.norm_before_attention);
  norm(norms.after_attention, config.hidden_size, block.norm_after_attention);
  norm(norms.before_feed_forward, config.hidden_size, block.norm_before_feed_forward);
  norm(norms.after_feed_forward, config.hidden_size, block.norm_after_feed_forward);
  const AttentionDescription& attention = config.attention;
  if (attention.head_norm != HeadNorm::kNone) {
    const bool each = attention.head_norm == HeadNorm::kEachHead;
    norm("self_attn.q_norm", each ? attention.head_dim : attention.query_features(),
         block.query_norm);
    norm("self_attn.k_norm", each ? attention.head_dim : attention.key_features(), block.key_norm);
  }
  const auto sites = config.sites();
  for (std::size_t i = 0; i < sites.size(); ++i) {
    for (std::size_t j = 0; j < sites[i]->layers.size(); ++j) {
      const LayerDescription& described = sites[i]->layers[j];
      Linear& linear = block.sites[i][j];
      visit(linear.name + ".weight", Shape{described.out_features, sites[i]->in_features},
            linear.weight);
      if (described.bias) visit(linear.name + ".bias", Shape{described.out_features}, linear.bias);
    }
  }
}

std::string embedding_name(const ModelDescription& config) {
  return config.prefix + "embed_tokens.weight";
}
std::string final_norm_name(const ModelDescription& config) {
  return config.prefix + "norm.weight";
}
const std::string kHeadWeight = std::string(kHead) + ".weight";

bool is_leftover(const std::string& name, const ModelDescription& config) {
  if (name.ends_with(".rotary_emb.inv_freq")) return true;
  if (config.tied && name.ends_with(kHeadWeight)) return true;
  if (!config.is_tower) return false;
  const std::string canonical = io::Checkpoint::canonical_name(name);
  return !canonical.starts_with(config.prefix) && canonical != kHeadWeight;
}

// Adds the linear layers of a block, const or not.
template <typename AnyLinear, typename AnyBlock>
void append_projections(std::vector<AnyLinear*>& result, AnyBlock& block) {
  for (auto& site : block.sites) {
    for (auto& linear : site) result.push_back(&linear);
  }
}

}  // namespace

std::vector<Linear*> Block::linear_layers() {
  std::vector<Linear*> result;
  append_projections(result, *this);
  return result;
}

std::vector<const Linear*> Block::linear_layers() const {
  std::vector<const Linear*> result;
  append_projections(result, *this);
  return result;
}

std::vector<Linear*> Model::linear_layers() {
  std::vector<Linear*> result;
  for (Block& block : blocks) append_projections(result, block);
  return result;
}

std::vector<const Linear*> Model::linear_layers() const {
  std::vector<const Linear*> result;
  for (const Block& block : blocks) append_projections(result, block);
  return result;
}

NamedTensors tensors_of(const ModelDescription& config, Block& block) {
  NamedTensors result;
  for_each_tensor(config, block, [&](const std::string& name, const Shape&, at::Tensor& tensor) {
    result.emplace_back(name, &tensor);
  });
  return result;
}

std::vector<std::pair<std::string, at::Tensor*>> Model::parameters() {
  std::vector<std::pair<std::string, at::Tensor*>> result = {{embedding_name(config), &embedding}};
  for (Block& block : blocks) {
    for (auto& named : tensors_of(config, block)) result.push_back(std::move(named));
  }
  result.emplace_back(final_norm_name(config), &final_norm);
  if (!config.tied) result.emplace_back(kHeadWeight, &head.weight);
  return result;
}

std::vector<std::pair<std::string, Shape>> expected_tensors(const ModelDescription& config) {
  std::vector<std::pair<std::string, Shape>> result = {
      {embedding_name(config), {config.vocab_size, config.hidden_size}}};
  for (std::int64_t layer = 0; layer < config.num_layers(); ++layer) {
    Block block = named_block(config, layer);
    for_each_tensor(config, block, [&](const std::string& name, const Shape& shape, at::Tensor&) {
      result.emplace_back(name, shape);
    });
  }
  result.emplace_back(final_norm_name(config), Shape{config.hidden_size});
  if (!config.tied) result.emplace_back(kHeadWeight, Shape{config.vocab_size, config.hidden_size});
  return result;
}

Misfits misfits_of(const quant::ModelWeights& weights, const ModelDescription& config) {
  Misfits found;
  std::set<std::string> expected;
  for (const auto& [name, shape] : expected_tensors(config)) {
    const std::string stored = weights.stored_name(name);
    expected.insert(stored);
    if (!weights.contains(stored)) {
      found.missing.push_back(name);
      continue;
    }
    const io::TensorInfo& info = weights.info(stored);
    if (info.shape != shape) {
      found.misshapen.push_back(concat("'", stored, "' must be ", io::shape_string(shape),
                                       ", it is ", io::shape_string(info.shape)));
    }
    if (info.dtype != io::DType::kF32 && info.dtype != io::DType::kBF16 &&
        info.dtype != io::DType::kF16) {
      found.mistyped.push_back(
          concat("'", stored, "' must be F32, BF16 or F16, it is ", io::to_string(info.dtype)));
    }
  }
  for (const auto& name : weights.names()) {
    if (!expected.contains(name) && !is_leftover(name, config)) found.surplus.push_back(name);
  }
  return found;
}

namespace {

bool same_tensor(const quant::ModelWeights& weights, const std::string& a, const std::string& b) {
  const io::TensorInfo& first = weights.info(a);
  const io::TensorInfo& second = weights.info(b);
  if (first.dtype != second.dtype || first.shape != second.shape) return false;
  const at::Tensor one = weights.view(a);
  const at::Tensor other = weights.view(b);
  const bool same = std::memcmp(one.const_data_ptr(), other.const_data_ptr(), one.nbytes()) == 0;
  weights.forget(a);
  weights.forget(b);
  return same;
}

}  // namespace

ModelDescription describe_model(const quant::ModelWeights& weights, core::Reporter& reporter,
                                const std::string& assume_family) {
  ModelDescription model = read_model_config(weights.directory(), assume_family);
  for (const std::string& note : model.notes) reporter.info(note);
  const std::string head = weights.stored_name(kHeadWeight);
  const std::string embedding = weights.stored_name(embedding_name(model));
  if (model.tied && weights.contains(head) && weights.contains(embedding) &&
      !same_tensor(weights, head, embedding)) {
    model.tied = false;
    reporter.warn(concat("config.json ties the head to the embedding, but '", head,
                         "' stands in the files and differs from it; the stored head is used"));
  }
  return model;
}

void check_checkpoint(const quant::ModelWeights& weights, const ModelDescription& config) {
  const Misfits found = misfits_of(weights, config);
  if (!found.empty()) {
    throw core::ShapeError(
        concat("'", weights.directory().string(),
               "' does not fit its config.json: ", found.describe(config.num_layers())));
  }
}

Model model_without_weights(const ModelDescription& config, const LoadOptions& options) {
  Model model;
  model.config = config;
  model.compute = options.compute;
  model.blocks.resize(config.blocks.size());
  for (const RotaryDescription& rope : config.rotaries) {
    RotaryFrequencies frequencies = rotary_frequencies(rope);
    for (at::Tensor* tensor : {&frequencies.usual, &frequencies.beyond}) {
      if (tensor->defined()) *tensor = tensor->to(options.device);
    }
    model.frequencies.push_back(std::move(frequencies));
  }
  return model;
}

Block make_block(const ModelDescription& config, std::int64_t layer,
                 const std::function<at::Tensor(const std::string& name)>& load) {
  Block block = named_block(config, layer);
  for_each_tensor(config, block, [&](const std::string& name, const Shape&, at::Tensor& tensor) {
    tensor = load(name);
  });
  return block;
}

std::vector<std::string> block_tensors(const ModelDescription& config, std::int64_t layer) {
  std::vector<std::string> names;
  make_block(config, layer, [&](const std::string& name) {
    names.push_back(name);
    return at::Tensor();
  });
  return names;
}

at::Device Linear::device() const {
  if (!packed) return weight.device();
  return packed->values.defined() ? packed->values.device()
                                  : packed->codes.tensors().front().device();
}

void write_weight(const Linear& linear, const at::Tensor& out, std::int64_t first_row) {
  const std::int64_t rows = out.size(0);
  if (!linear.packed) {
    out.copy_(linear.weight.narrow(0, first_row, rows));
    return;
  }
  if (out.is_meta()) return;
  if (linear.packed->store) linear.packed->store->bring(linear.packed->block);
  if (linear.packed->values.defined()) {
    kernels::copy_rows(out, linear.packed->values.narrow(0, first_row, rows));
  } else {
    kernels::dequantise(out, linear.packed->codes, first_row);
  }
  if (linear.packed->start_a.defined())
    kernels::gemm(out, linear.packed->start_b.narrow(0, first_row, rows), linear.packed->start_a,
                  {.alpha = -linear.packed->start_scale, .beta = 1});
}

at::Tensor weight_of(const Linear& linear) {
  if (!linear.packed) return linear.weight;
  const at::NoGradGuard no_grad;
  at::Tensor out =
      at::empty(linear.weight.sizes(), linear.weight.options().device(linear.device()));
  write_weight(linear, out);
  return out;
}

namespace {

// Fills in the block's linear layers, in codes where the options ask for them.
void load_linears(Block& block, const quant::ModelWeights& weights, const LoadOptions& options) {
  for (Linear* linear : block.linear_layers()) {
    const std::string name = linear->name + ".weight";
    auto codes = quant::packed_base(weights, name, options.base, options.device, options.weights);
    if (!codes) {
      linear->weight = weights.load(name, options.device, options.weights);
      continue;
    }
    linear->weight = weights.load(name, at::kMeta, options.weights);
    linear->packed = std::make_shared<const PackedLinear>(PackedLinear{.codes = std::move(*codes)});
  }
}

}  // namespace

Model load_model(const quant::ModelWeights& weights, const ModelDescription& config,
                 const LoadOptions& options) {
  check_checkpoint(weights, config);
  const auto load = [&](const std::string& name) {
    return weights.load(name, options.device, options.weights);
  };
  Model model = model_without_weights(config, options);
  model.embedding = load(embedding_name(config));
  for (std::int64_t layer = 0; layer < config.num_layers(); ++layer) {
    std::set<std::string> linears;
    const Block named = named_block(config, layer);
    for (const Linear* linear : named.linear_layers()) linears.insert(linear->name + ".weight");
    Block& block = model.blocks[static_cast<std::size_t>(layer)];
    block = make_block(config, layer, [&](const std::string& name) {
      return linears.contains(name) ? at::Tensor() : load(name);
    });
    load_linears(block, weights, options);
    if (options.block_loaded) options.block_loaded(layer, block);
  }
  model.final_norm = load(final_norm_name(config));
  model.head.name = kHead;
  if (!config.tied) model.head.weight = load(kHeadWeight);
  return model;
}

}  // namespace corda::model
