// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/io/tensor.h"
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

// Of a block or of a const one.
template <typename AnyLinear, typename AnyBlock>
void append_projections(std::vector<AnyLinear*>& result, AnyBlock& block) {
  for (auto& site : block.sites) {
    for (auto& linear : site) result.push_back(&linear);
  }
}

}  // namespace

std::vector<Linear*> Block::projections() {
  std::vector<Linear*> result;
  append_projections(result, *this);
  return result;
}

std::vector<const Linear*> Block::projections() const {
  std::vector<const Linear*> result;
  append_projections(result, *this);
  return result;
}

std::vector<Linear*> Model::projections() {
  std::vector<Linear*> result;
  for (Block& block : blocks) append_projections(result, block);
  return result;
}

std::vector<const Linear*> Model::projections() const {
  std::vector<const Linear*> result;
  for (const Block& block : blocks) append_projections(result, block);
  return result;
}

std::vector<std::pair<std::string, at::Tensor*>> Model::parameters() {
  std::vector<std::pair<std::string, at::Tensor*>> result = {{embedding_name(config), &embedding}};
  for (auto& block : blocks) {
    for_each_tensor(config, block, [&](const std::string& name, const Shape&, at::Tensor& tensor) {
      result.emplace_back(name, &tensor);
    });
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

namespace {

Misfits misfits(const io::Checkpoint& checkpoint, const ModelDescription& config) {
  Misfits found;
  std::set<std::string> expected;
  for (const auto& [name, shape] : expected_tensors(config)) {
    const std::string stored = checkpoint.stored_name(name);
    expected.insert(stored);
    if (!checkpoint.contains(stored)) {
      found.missing.push_back(name);
      continue;
    }
    const io::TensorInfo& info = checkpoint.info(stored);
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
  for (const auto& name : checkpoint.names()) {
    if (!expected.contains(name) && !is_leftover(name, config)) found.surplus.push_back(name);
  }
  return found;
}

bool same_tensor(const io::Checkpoint& checkpoint, const std::string& a, const std::string& b) {
  const io::TensorInfo& first = checkpoint.info(a);
  const io::TensorInfo& second = checkpoint.info(b);
  if (first.dtype != second.dtype || first.shape != second.shape) return false;
  const auto bytes = checkpoint.data(a);
  const auto others = checkpoint.data(b);
  const bool same = std::memcmp(bytes.data(), others.data(), bytes.size()) == 0;
  checkpoint.forget(a);
  checkpoint.forget(b);
  return same;
}

// The implemented family whose tensors these are, for a configuration of another; "" for none.
std::string fitting_family(const io::Checkpoint& checkpoint) {
  for (const std::string& family : family_names()) {
    try {
      if (misfits(checkpoint, read_model_config(checkpoint.directory(), family)).empty())
        return family;
    } catch (const core::Error&) {
      continue;  // the configuration says what that family does not know
    }
  }
  return "";
}

}  // namespace

ModelDescription describe_model(const io::Checkpoint& checkpoint, core::Reporter& reporter,
                                const std::string& assume_family) {
  ModelDescription model;
  try {
    model = read_model_config(checkpoint.directory(), assume_family);
  } catch (const UnknownFamily& unknown) {
    const std::string family = fitting_family(checkpoint);
    if (family.empty()) throw;
    throw core::FormatError(concat(unknown.what(), "; the tensors are those of ", family,
                                   ": try --assume-family ", family,
                                   " if the model computes as that family does"));
  }
  for (const std::string& note : model.notes) reporter.info(note);
  const std::string head = checkpoint.stored_name(kHeadWeight);
  const std::string embedding = checkpoint.stored_name(embedding_name(model));
  if (model.tied && checkpoint.contains(head) && checkpoint.contains(embedding) &&
      !same_tensor(checkpoint, head, embedding)) {
    model.tied = false;
    reporter.warn(concat("config.json ties the head to the embedding, but '", head,
                         "' stands in the files and differs from it; the stored head is used"));
  }
  return model;
}

void check_checkpoint(const io::Checkpoint& checkpoint, const ModelDescription& config) {
  const Misfits found = misfits(checkpoint, config);
  if (!found.empty()) {
    throw core::ShapeError(
        concat("'", checkpoint.directory().string(),
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

Model load_model(const io::Checkpoint& checkpoint, const ModelDescription& config,
                 const LoadOptions& options) {
  check_checkpoint(checkpoint, config);
  const auto load = [&](const std::string& name) {
    // copy = true: the map's bytes must not outlive the file.
    return io::view_tensor(checkpoint, name)
        .to(options.device, options.weights, /*non_blocking=*/false, /*copy=*/true);
  };
  Model model = model_without_weights(config, options);
  model.embedding = load(embedding_name(config));
  for (std::int64_t layer = 0; layer < config.num_layers(); ++layer)
    model.blocks[static_cast<std::size_t>(layer)] = make_block(config, layer, load);
  model.final_norm = load(final_norm_name(config));
  model.head.name = kHead;
  if (!config.tied) model.head.weight = load(kHeadWeight);
  return model;
}

}  // namespace corda::model
