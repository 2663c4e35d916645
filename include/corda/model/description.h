// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A decoder-only language model as names and numbers: all that tells one family from another.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "corda/kernels/activation.h"
#include "corda/kernels/norm_kind.h"

namespace corda::model {

enum class RopeType { kDefault, kLinear, kDynamic, kLlama3, kYarn, kLongrope };

// Rotary position embedding (Su et al. 2021) of one or more layers.
struct RotaryDescription {
  RopeType type = RopeType::kDefault;
  double theta = 10000;
  std::int64_t dims = 0;     // elements of a head that are turned, the first ones; even
  bool interleaved = false;  // pairs are (2i, 2i + 1); else (i, dims / 2 + i)
  double factor = 1;         // linear, dynamic, llama3, yarn
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  // llama3, yarn: positions before stretching. dynamic, longrope: sequences beyond are turned by
  // other frequencies.
  std::int64_t original_positions = 0;
  double beta_fast = 32;  // yarn (Peng et al. 2023), as are the two below
  double beta_slow = 1;
  bool truncate = true;
  double magnitude = 1;               // multiplies cos and sin; 1 but for yarn and longrope
  std::vector<double> short_factors;  // longrope (Ding et al. 2024), [dims / 2]
  std::vector<double> long_factors;

  // Whether the frequencies depend on the length of a sequence.
  bool depends_on_length() const {
    return type == RopeType::kDynamic || type == RopeType::kLongrope;
  }
};

// A linear layer of a block, y = x W^T + bias. One layer may hold the rows of several, one after
// the other (qkv_proj, gate_up_proj): its site says what the rows of all its layers are.
struct LayerDescription {
  std::string name;  // in the block: "self_attn.q_proj"
  std::int64_t out_features = 0;
  bool bias = false;
};

// Linear layers of one input, and so one covariance.
struct SiteDescription {
  std::string name;  // in the block: "self_attn.input"
  std::int64_t in_features = 0;
  std::vector<LayerDescription> layers;

  std::int64_t out_features() const;
};

enum class HeadNorm {
  kNone,
  kEachHead,    // weights [head_dim]
  kProjection,  // over all heads together; weights [heads * head_dim]
};

struct AttentionDescription {
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  double scale = 0;                      // of the scores
  double soft_cap = 0;                   // scores become cap * tanh(score / cap); 0: they do not
  HeadNorm head_norm = HeadNorm::kNone;  // of queries and keys, before they are turned
  // Queries at position p are multiplied by 1 + beta ln(1 + floor(p / positions)); beta 0: not.
  double query_growth = 0;
  std::int64_t query_growth_positions = 0;
  SiteDescription input;  // rows of its layers: queries, keys, values
  SiteDescription output;

  std::int64_t query_features() const { return heads * head_dim; }
  std::int64_t key_features() const { return kv_heads * head_dim; }
};

// down(activation(gate(x)) * up(x)).
struct FeedForwardDescription {
  std::int64_t intermediate = 0;
  kernels::Activation activation = kernels::Activation::kSilu;
  SiteDescription input;  // rows of its layers: gate, up
  SiteDescription output;
};

// Norms of a block by their names in it; an empty name is a norm that the family has not.
struct BlockNorms {
  std::string before_attention;
  std::string after_attention;  // of the branch's output, before it is added
  std::string before_feed_forward;
  std::string after_feed_forward;
};

// The members that differ from block to block.
struct BlockDescription {
  std::int64_t window = 0;  // keys i - window < j <= i are seen; 0: all up to i
  std::int64_t rotary = 0;  // of `rotaries`; -1: queries and keys are not turned
};

struct ModelDescription {
  std::string family;  // the row of families.cpp, for messages
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t max_positions = 0;
  bool tied = false;  // the head is the embedding
  // What stands before every name but the head's: "model.", or the prefix of a text tower inside
  // another model.
  std::string prefix = "model.";
  bool is_tower = false;  // the files hold more than this model

  kernels::NormKind norm;  // of all norms
  double norm_eps = 1e-6;
  BlockNorms norms;
  AttentionDescription attention;
  FeedForwardDescription feed_forward;
  std::vector<RotaryDescription> rotaries;
  std::vector<BlockDescription> blocks;

  // These multiply the embeddings (rounded to the table's dtype where the family does that), what a
  // branch adds to the residual stream, and the logits; with a cap other than 0 logits become cap *
  // tanh(logit / cap).
  double embedding_scale = 1;
  bool rounds_embedding_scale = false;
  double residual_scale = 1;
  double logit_scale = 1;
  double logit_soft_cap = 0;

  std::vector<std::string> notes;  // about the configuration, for the log

  std::int64_t num_layers() const { return static_cast<std::int64_t>(blocks.size()); }
  // "model.layers.3"
  std::string block_name(std::int64_t layer) const;
  // The sites of every block, in the order of the forward pass.
  std::array<const SiteDescription*, 4> sites() const {
    return {&attention.input, &attention.output, &feed_forward.input, &feed_forward.output};
  }
};

// The places of a block's four sites in `sites()`.
enum SiteIndex : std::size_t {
  kAttentionInput,
  kAttentionOutput,
  kFeedForwardInput,
  kFeedForwardOutput
};

}  // namespace corda::model
