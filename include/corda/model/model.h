// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A decoder-only language model as plain data: weights by name, grouped into blocks.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "corda/io/safetensors.h"
#include "corda/model/config.h"

namespace corda::model {

// A live low-rank adapter beside a weight: y += scale * B A dropout(x); with a magnitude the rows
// of W + scale B A are rescaled to it (DoRA, Liu et al. 2024, eq. 5; the norm is a constant in the
// backward).
struct LowRank {
  at::Tensor a;                 // [r, in], fp32
  at::Tensor b;                 // [out, r], fp32
  at::Tensor magnitude;         // [out], fp32, or undefined
  at::Tensor row_squares = {};  // ||W_i||^2 of the frozen weight, [out], fp32, with a magnitude
  double scale = 1;
  double dropout = 0;
};

// W [out, in], optional bias [out], optional adapter. `name` is the module's full name,
// "model.layers.0.self_attn.q_proj".
struct Linear {
  std::string name;
  at::Tensor weight;
  at::Tensor bias;
  std::optional<LowRank> low_rank;
};

// One decoder block: pre-norm attention and pre-norm gated feed-forward, each added to the
// residual.
struct Block {
  std::string name;           // "model.layers.0"
  at::Tensor attention_norm;  // [hidden]
  at::Tensor mlp_norm;        // [hidden]
  Linear q, k, v, o;
  Linear gate, up, down;

  // All seven, in the order of the forward pass.
  std::vector<Linear*> projections();
  std::vector<const Linear*> projections() const;
};

struct Model {
  ModelConfig config;
  at::Tensor embedding;  // [vocab, hidden]
  std::vector<Block> blocks;
  at::Tensor final_norm;           // [hidden]
  Linear head;                     // no weight of its own where it is tied to the embedding
  at::Tensor inverse_frequencies;  // [head_dim / 2], fp32, after scaling
  // Of activations; weights of another dtype are converted when used.
  at::ScalarType compute = at::kFloat;

  at::Device device() const { return embedding.device(); }
  const at::Tensor& head_weight() const {
    return config.tie_word_embeddings ? embedding : head.weight;
  }
  // Those of every block, in the order of the forward pass.
  std::vector<Linear*> projections();
  std::vector<const Linear*> projections() const;
  // Every parameter by its name in the checkpoint; a tied head stands once, as the embedding.
  std::vector<std::pair<std::string, at::Tensor*>> parameters();
};

// Names and shapes of every tensor that a checkpoint of this configuration holds.
std::vector<std::pair<std::string, std::vector<std::int64_t>>> expected_tensors(
    const ModelConfig& config);

struct LoadOptions {
  at::Device device = at::kCPU;
  at::ScalarType weights = at::kFloat;  // dtype in memory
  at::ScalarType compute = at::kFloat;
};

// Loads a model. Throws ShapeError that lists every missing, surplus and misshapen tensor, and
// every one of another type than fp32, bf16 and fp16, at once. Harmless leftovers of old files
// (rotary buffers, a copy of tied embeddings) are accepted.
Model load_model(const io::Checkpoint& checkpoint, const ModelConfig& config,
                 const LoadOptions& options);

// Throws the ShapeError of `load_model` where the checkpoint does not fit the configuration.
void check_checkpoint(const io::Checkpoint& checkpoint, const ModelConfig& config);

// A model with the right number of blocks and nothing in them, no embedding and no head; enough
// for `forward_block` once the block is filled in.
Model model_without_weights(const ModelConfig& config, const LoadOptions& options);

// Block `layer` with `load(name)` giving each of its tensors, called in the order of
// `block_tensors`.
Block make_block(const ModelConfig& config, std::int64_t layer,
                 const std::function<at::Tensor(const std::string& name)>& load);

// Names of the tensors of block `layer`.
std::vector<std::string> block_tensors(const ModelConfig& config, std::int64_t layer);

// Rotary frequencies theta^(-2i/d), scaled as the configuration says (Llama 3.1: low frequencies
// divided by the factor, a smooth blend between the bands).
at::Tensor rope_inverse_frequencies(const ModelConfig& config);

}  // namespace corda::model
