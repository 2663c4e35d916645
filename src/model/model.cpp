// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/model.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>
#include <set>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/io/tensor.h"

namespace corda::model {

using core::concat;

namespace {

using Shape = std::vector<std::int64_t>;

struct ProjectionRow {
  const char* name;
  Linear Block::*member;
  Shape (*shape)(const ModelConfig&);
  bool ModelConfig::*bias;
};

// The seven projections of a block: where they stand in the file, in the struct, and their shapes.
const std::vector<ProjectionRow>& projection_table() {
  static const std::vector<ProjectionRow> table = {
      {"self_attn.q_proj", &Block::q,
       [](const ModelConfig& c) {
         return Shape{c.num_heads * c.head_dim, c.hidden_size};
       },
       &ModelConfig::attention_bias},
      {"self_attn.k_proj", &Block::k,
       [](const ModelConfig& c) {
         return Shape{c.num_kv_heads * c.head_dim, c.hidden_size};
       },
       &ModelConfig::attention_bias},
      {"self_attn.v_proj", &Block::v,
       [](const ModelConfig& c) {
         return Shape{c.num_kv_heads * c.head_dim, c.hidden_size};
       },
       &ModelConfig::attention_bias},
      {"self_attn.o_proj", &Block::o,
       [](const ModelConfig& c) {
         return Shape{c.hidden_size, c.num_heads * c.head_dim};
       },
       &ModelConfig::attention_bias},
      {"mlp.gate_proj", &Block::gate,
       [](const ModelConfig& c) {
         return Shape{c.intermediate_size, c.hidden_size};
       },
       &ModelConfig::mlp_bias},
      {"mlp.up_proj", &Block::up,
       [](const ModelConfig& c) {
         return Shape{c.intermediate_size, c.hidden_size};
       },
       &ModelConfig::mlp_bias},
      {"mlp.down_proj", &Block::down,
       [](const ModelConfig& c) {
         return Shape{c.hidden_size, c.intermediate_size};
       },
       &ModelConfig::mlp_bias}};
  return table;
}

std::string block_name(std::int64_t layer) { return concat("model.layers.", layer); }

bool is_leftover(const std::string& name, const ModelConfig& config) {
  return name.ends_with(".rotary_emb.inv_freq") ||
         (config.tie_word_embeddings && name == "lm_head.weight");
}

// Of a block or of a const one.
template <typename AnyLinear, typename AnyBlock>
void append_projections(std::vector<AnyLinear*>& result, AnyBlock& block) {
  for (const auto& row : projection_table()) result.push_back(&(block.*row.member));
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
  std::vector<std::pair<std::string, at::Tensor*>> result = {
      {"model.embed_tokens.weight", &embedding}};
  for (auto& block : blocks) {
    result.emplace_back(block.name + ".input_layernorm.weight", &block.attention_norm);
    result.emplace_back(block.name + ".post_attention_layernorm.weight", &block.mlp_norm);
    for (const auto& row : projection_table()) {
      Linear& linear = block.*row.member;
      result.emplace_back(linear.name + ".weight", &linear.weight);
      if (linear.bias.defined()) result.emplace_back(linear.name + ".bias", &linear.bias);
    }
  }
  result.emplace_back("model.norm.weight", &final_norm);
  if (!config.tie_word_embeddings) result.emplace_back("lm_head.weight", &head.weight);
  return result;
}

std::vector<std::pair<std::string, Shape>> expected_tensors(const ModelConfig& config) {
  std::vector<std::pair<std::string, Shape>> result = {
      {"model.embed_tokens.weight", {config.vocab_size, config.hidden_size}}};
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    const std::string block = block_name(layer);
    result.emplace_back(block + ".input_layernorm.weight", Shape{config.hidden_size});
    result.emplace_back(block + ".post_attention_layernorm.weight", Shape{config.hidden_size});
    for (const auto& row : projection_table()) {
      const Shape shape = row.shape(config);
      result.emplace_back(concat(block, ".", row.name, ".weight"), shape);
      if (config.*row.bias)
        result.emplace_back(concat(block, ".", row.name, ".bias"), Shape{shape[0]});
    }
  }
  result.emplace_back("model.norm.weight", Shape{config.hidden_size});
  if (!config.tie_word_embeddings)
    result.emplace_back("lm_head.weight", Shape{config.vocab_size, config.hidden_size});
  return result;
}

at::Tensor rope_inverse_frequencies(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  at::Tensor result = at::empty({config.head_dim / 2}, at::kFloat);
  auto* values = result.data_ptr<float>();
  for (std::int64_t i = 0; i < config.head_dim / 2; ++i) {
    // In fp32, as the models were trained.
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
    double frequency = 1.0F / std::pow(static_cast<float>(config.rope_theta), exponent);
    if (scaling.type == RopeScalingType::kLinear) {
      frequency /= scaling.factor;
    } else if (scaling.type == RopeScalingType::kLlama3) {
      const double wavelength = 2 * std::numbers::pi / frequency;
      const auto original = static_cast<double>(scaling.original_max_positions);
      if (wavelength > original / scaling.low_freq_factor) {
        frequency /= scaling.factor;
      } else if (wavelength >= original / scaling.high_freq_factor) {
        const double smooth = (original / wavelength - scaling.low_freq_factor) /
                              (scaling.high_freq_factor - scaling.low_freq_factor);
        frequency = (1 - smooth) * frequency / scaling.factor + smooth * frequency;
      }
    }
    values[i] = static_cast<float>(frequency);
  }
  return result;
}

void check_checkpoint(const io::Checkpoint& checkpoint, const ModelConfig& config) {
  std::vector<std::string> problems;
  std::set<std::string> expected;
  for (const auto& [name, shape] : expected_tensors(config)) {
    expected.insert(name);
    if (!checkpoint.contains(name)) {
      problems.push_back(concat("missing '", name, "' ", io::shape_string(shape)));
      continue;
    }
    const io::TensorInfo& info = checkpoint.info(name);
    if (info.shape != shape) {
      problems.push_back(concat("'", name, "' must be ", io::shape_string(shape), ", it is ",
                                io::shape_string(info.shape)));
    }
    if (info.dtype != io::DType::kF32 && info.dtype != io::DType::kBF16 &&
        info.dtype != io::DType::kF16) {
      problems.push_back(
          concat("'", name, "' must be F32, BF16 or F16, it is ", io::to_string(info.dtype)));
    }
  }
  for (const auto& name : checkpoint.names()) {
    if (!expected.contains(name) && !is_leftover(name, config))
      problems.push_back(concat("surplus '", name, "'"));
  }
  if (!problems.empty()) {
    throw core::ShapeError(concat("'", checkpoint.directory().string(),
                                  "' does not fit its config.json: ", core::join(problems, "; ")));
  }
}

Model model_without_weights(const ModelConfig& config, const LoadOptions& options) {
  Model model;
  model.config = config;
  model.compute = options.compute;
  model.blocks.resize(static_cast<std::size_t>(config.num_layers));
  model.inverse_frequencies = rope_inverse_frequencies(config).to(options.device);
  return model;
}

Block make_block(const ModelConfig& config, std::int64_t layer,
                 const std::function<at::Tensor(const std::string& name)>& load) {
  Block block;
  block.name = block_name(layer);
  block.attention_norm = load(block.name + ".input_layernorm.weight");
  block.mlp_norm = load(block.name + ".post_attention_layernorm.weight");
  for (const auto& row : projection_table()) {
    Linear& linear = block.*row.member;
    linear.name = concat(block.name, ".", row.name);
    linear.weight = load(linear.name + ".weight");
    if (config.*row.bias) linear.bias = load(linear.name + ".bias");
  }
  return block;
}

std::vector<std::string> block_tensors(const ModelConfig& config, std::int64_t layer) {
  std::vector<std::string> names;
  make_block(config, layer, [&](const std::string& name) {
    names.push_back(name);
    return at::Tensor();
  });
  return names;
}

Model load_model(const io::Checkpoint& checkpoint, const ModelConfig& config,
                 const LoadOptions& options) {
  check_checkpoint(checkpoint, config);
  const auto load = [&](const std::string& name) {
    // copy = true: the map's bytes must not outlive the file.
    return io::view_tensor(checkpoint, name)
        .to(options.device, options.weights, /*non_blocking=*/false, /*copy=*/true);
  };
  Model model = model_without_weights(config, options);
  model.embedding = load("model.embed_tokens.weight");
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer)
    model.blocks[static_cast<std::size_t>(layer)] = make_block(config, layer, load);
  model.final_norm = load("model.norm.weight");
  model.head.name = "lm_head";
  if (!config.tie_word_embeddings) model.head.weight = load("lm_head.weight");
  return model;
}

}  // namespace corda::model
