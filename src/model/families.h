// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The table of model families: what a config.json of each `model_type` means.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "corda/model/description.h"
#include "model/config_reader.h"

namespace corda::model {

// A yes or no that a family fixes, or that a key says (`key` not null), `otherwise` where absent.
struct Switch {
  const char* key = nullptr;
  bool otherwise = false;
};

// Which layers look at a window of keys.
enum class Windows {
  kNone,
  kAllLayers,   // where `sliding_window` is not null
  kLayerTypes,  // as `layer_types` says; where absent all but every `full_every`-th
  // `layer_types` says it; where that is absent, the layers from `max_window_layers` on, or
  // SmolLM3's without rotation, have a window. None has one unless `use_sliding_window`.
  kUpperLayers,
  kUnrotatedLayers
};

// Where rotary parameters stand.
enum class RopeLayout {
  kOne,
  kByLayerType,  // one set for full and one for sliding layers
};

// One family. Numbers are the defaults of transformers 5.17 for keys that a file leaves out.
struct FamilyRow {
  const char* model_type;
  std::int64_t vocab_size, hidden_size, intermediate_size, num_layers, num_heads;
  std::int64_t num_kv_heads = 0;  // 0: as many as heads
  std::int64_t head_dim = 0;      // 0: hidden size / heads
  std::int64_t max_positions = 2048;
  double rms_norm_eps = 1e-6;
  bool tied = false;
  const char* activation_key = "hidden_act";
  const char* activation = "silu";

  kernels::NormKind norm = {.offset = 0, .rounds_before_weight = true};
  BlockNorms norms = {.before_attention = "input_layernorm",
                      .after_attention = "",
                      .before_feed_forward = "post_attention_layernorm",
                      .after_feed_forward = ""};
  HeadNorm head_norm = HeadNorm::kNone;
  bool fused_qkv = false;
  bool fused_gate_up = false;
  Switch qkv_bias = {};
  Switch output_bias = {};
  Switch feed_forward_bias = {};

  Windows windows = Windows::kNone;
  std::int64_t window = 0;  // where `sliding_window` is absent; 0: none
  std::int64_t full_every = 0;
  bool reads_full_every = false;  // `sliding_window_pattern` is read

  RopeLayout rope = RopeLayout::kOne;
  double rope_theta = 10000;
  double sliding_rope_theta = 0;       // of the sliding layers, by layer type
  const char* sliding_theta_key = "";  // where a file says it beside the rotary parameters
  bool partial_rotary = false;         // `partial_rotary_factor` is read
  double rotary_share = 1;             // where it is absent
  bool interleaved_rotary = false;
  std::int64_t original_positions = 0;  // of long contexts, where absent; 0: max_positions
  bool yarn_is_longrope = false;        // Phi-3's first files call it so
  bool unrotated_layers = false;        // `no_rope_layers` is read
  bool rotary_sections = false;         // parts of a head for images; for text all turn alike
  bool query_growth = false;            // `llama_4_scaling_beta` is read

  bool query_pre_attn_scalar = false;  // gives the scale of the scores
  double attention_soft_cap = -1;      // where `attn_logit_softcapping` is absent; -1: not read
  double logit_soft_cap = -1;          // likewise `final_logit_softcapping`
  bool scales_embedding_by_root = false;
  bool multipliers = false;  // Granite's four are read
};

// The row of a `model_type`; null where there is none.
const FamilyRow* find_family(std::string_view model_type);
// Every `model_type` there is a row of.
std::vector<std::string> family_names();

// The model that the keys of `reader` describe as a member of `row`. Problems go to the reader.
ModelDescription describe(ConfigReader& reader, const FamilyRow& row);

}  // namespace corda::model
