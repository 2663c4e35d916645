// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A decoder-only language model as plain data: weights by name, grouped into blocks.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "corda/kernels/packed_weight.h"
#include "corda/model/config.h"
#include "corda/quant/model_weights.h"
#include "corda/quant/quantise.h"

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

// Where the weights of blocks are that do not stand in memory all at once.
class BlockStore {
 public:
  BlockStore() = default;
  BlockStore(const BlockStore&) = delete;
  BlockStore& operator=(const BlockStore&) = delete;
  virtual ~BlockStore() = default;
  // Afterwards the tensors of block `block` hold its weights, until another block of the store is
  // brought. On a GPU the current stream waits for them, not the host.
  virtual void bring(std::int64_t block) = 0;
};

// A frozen weight that becomes a matrix only while it is used: W = what codes mean (or values) -
// start_scale start_b start_a, where an adapter's start was taken off it.
struct PackedLinear {
  kernels::PackedWeight codes;
  at::Tensor values = {};                  // [out, in], in place of codes
  std::shared_ptr<BlockStore> store = {};  // which has to bring block `block` first, or null
  std::int64_t block = 0;
  at::Tensor start_a = {};  // [r, in] in the type of the weight, or undefined
  at::Tensor start_b = {};  // [out, r]
  double start_scale = 1;
};

// W [out, in], optional bias [out], optional adapter. `name` is the module's full name,
// "model.layers.0.self_attn.q_proj".
struct Linear {
  std::string name;
  at::Tensor weight;  // of the meta device, shape and type alone, where `packed` holds it
  at::Tensor bias = {};
  std::optional<LowRank> low_rank = {};
  std::shared_ptr<const PackedLinear> packed = {};

  // The device that the weight is on, dense or packed.
  at::Device device() const;
};

// Writes the rows of W from `first_row` on to out [rows, in], fp32 or bf16 with contiguous rows at
// any stride.
void write_weight(const Linear& linear, const at::Tensor& out, std::int64_t first_row = 0);
// W as a matrix of the weight's type: the one that is there, or one that is made now.
at::Tensor weight_of(const Linear& linear);

// One decoder block: attention and a gated feed-forward, each added to the residual stream, with
// the norms that its family has (the others are undefined).
struct Block {
  std::string name;                                        // "model.layers.0"
  at::Tensor norm_before_attention, norm_after_attention;  // [hidden]
  at::Tensor norm_before_feed_forward, norm_after_feed_forward;
  at::Tensor query_norm, key_norm;  // HeadNorm
  // The layers of each site, in the order of ModelDescription::sites and of the forward pass.
  std::array<std::vector<Linear>, 4> sites;

  // All layers of the block, in the order of the sites.
  std::vector<Linear*> linear_layers();
  std::vector<const Linear*> linear_layers() const;
};

// The rotary frequencies of one RotaryDescription, [dims / 2] fp32: of short sequences and, where
// they depend on the length and the model fixes them (longrope), of long ones.
struct RotaryFrequencies {
  at::Tensor usual;
  at::Tensor beyond;
};

struct Model {
  ModelDescription config;
  at::Tensor embedding;  // [vocab, hidden]
  std::vector<Block> blocks;
  at::Tensor final_norm;  // [hidden]
  Linear head;            // no weight of its own where it is tied to the embedding
  std::vector<RotaryFrequencies> frequencies;  // of `config.rotaries`
  // The type of activations; weights of another type are converted when used.
  at::ScalarType compute = at::kFloat;
  // kernels::LinearCrossEntropyOptions::entropy_power of the gradient of its loss.
  double entropy_power = 0;

  at::Device device() const { return embedding.device(); }
  const at::Tensor& head_weight() const { return config.tied ? embedding : head.weight; }
  // The layers of every block, in the order of the forward pass.
  std::vector<Linear*> linear_layers();
  std::vector<const Linear*> linear_layers() const;
  // Every parameter by its name; a tied head stands once, as the embedding.
  std::vector<std::pair<std::string, at::Tensor*>> parameters();
};

// Names and shapes of every tensor that a checkpoint of this configuration holds.
std::vector<std::pair<std::string, std::vector<std::int64_t>>> expected_tensors(
    const ModelDescription& config);

struct LoadOptions {
  at::Device device = at::kCPU;
  at::ScalarType weights = at::kFloat;  // dtype in memory
  at::ScalarType compute = at::kFloat;
  // How `load_model` holds the linear layers of the blocks; the head and all else are dense.
  quant::Base base = quant::Base::kDense;
  // Told of every block before the next one is loaded, may be empty.
  std::function<void(std::int64_t layer, Block& block)> block_loaded = {};
};

// Loads a model, one tensor at a time. Throws ShapeError that lists every missing, surplus and
// misshapen tensor, and every one of another type than fp32, bf16 and fp16, at once. Harmless
// leftovers of old files (rotary buffers, a copy of tied embeddings) are accepted.
Model load_model(const quant::ModelWeights& weights, const ModelDescription& config,
                 const LoadOptions& options);

// Throws the ShapeError of `load_model` where the checkpoint does not fit the configuration.
void check_checkpoint(const quant::ModelWeights& weights, const ModelDescription& config);

// A model with the right number of blocks and nothing in them, no embedding and no head; enough
// for `forward_block` once the block is filled in.
Model model_without_weights(const ModelDescription& config, const LoadOptions& options);

// Block `layer` with `load(name)` giving each of its tensors, called in the order of
// `block_tensors`.
Block make_block(const ModelDescription& config, std::int64_t layer,
                 const std::function<at::Tensor(const std::string& name)>& load);

// Names of the tensors of block `layer`.
std::vector<std::string> block_tensors(const ModelDescription& config, std::int64_t layer);

// What `model_without_weights` and `load_model` give the model for each rotary description.
RotaryFrequencies rotary_frequencies(const RotaryDescription& rope);

// The frequencies of sequences of `length` tokens, [dims / 2] fp32 on the device of `frequencies`.
at::Tensor frequencies_for(const RotaryDescription& rope, const RotaryFrequencies& frequencies,
                           std::int64_t length);

// The model of a checkpoint's config.json and tensors: what a folder's two sources say together.
// Notes of the configuration are logged. A head that the configuration calls tied, but that stands
// in the files and differs from the embedding, is a head of its own, as in transformers, which is
// said. Throws as `read_model_config`.
ModelDescription describe_model(const quant::ModelWeights& weights, core::Reporter& reporter,
                                const std::string& assume_family = "");

}  // namespace corda::model
