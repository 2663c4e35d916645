// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "model/families.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "model/rope_config.h"

namespace corda::model {

using core::concat;
using core::Json;

namespace {

constexpr kernels::NormKind kGemmaNorm = {.offset = 1, .rounds_before_weight = false};
constexpr kernels::NormKind kOlmoNorm = {.offset = 0, .rounds_before_weight = false};

// Norms before and after each branch, in the names of Gemma 2 and of GLM 4.
const BlockNorms kGemma2Norms = {.before_attention = "input_layernorm",
                                 .after_attention = "post_attention_layernorm",
                                 .before_feed_forward = "pre_feedforward_layernorm",
                                 .after_feed_forward = "post_feedforward_layernorm"};
const BlockNorms kGlm4Norms = {.before_attention = "input_layernorm",
                               .after_attention = "post_self_attn_layernorm",
                               .before_feed_forward = "post_attention_layernorm",
                               .after_feed_forward = "post_mlp_layernorm"};
const BlockNorms kOlmo2Norms = {.before_attention = "",
                                .after_attention = "post_attention_layernorm",
                                .before_feed_forward = "",
                                .after_feed_forward = "post_feedforward_layernorm"};

constexpr Switch kAlways = {.key = nullptr, .otherwise = true};
constexpr Switch kByAttentionBias = {.key = "attention_bias", .otherwise = false};
constexpr Switch kByMlpBias = {.key = "mlp_bias", .otherwise = false};

// Sizes in the order vocabulary, hidden, intermediate, layers, heads.
const std::vector<FamilyRow>& table() {
  static const std::vector<FamilyRow> rows = {
      {.model_type = "llama",
       .vocab_size = 32000,
       .hidden_size = 4096,
       .intermediate_size = 11008,
       .num_layers = 32,
       .num_heads = 32,
       .qkv_bias = kByAttentionBias,
       .output_bias = kByAttentionBias,
       .feed_forward_bias = kByMlpBias},
      {.model_type = "mistral",
       .vocab_size = 32000,
       .hidden_size = 4096,
       .intermediate_size = 14336,
       .num_layers = 32,
       .num_heads = 32,
       .num_kv_heads = 8,
       .max_positions = 131072,
       .windows = Windows::kAllLayers,
       .window = 4096},
      {.model_type = "ministral",
       .vocab_size = 32000,
       .hidden_size = 4096,
       .intermediate_size = 14336,
       .num_layers = 32,
       .num_heads = 32,
       .num_kv_heads = 8,
       .max_positions = 131072,
       .windows = Windows::kLayerTypes,
       .window = 4096},
      {.model_type = "ministral3",
       .vocab_size = 131072,
       .hidden_size = 4096,
       .intermediate_size = 14336,
       .num_layers = 34,
       .num_heads = 32,
       .num_kv_heads = 8,
       .head_dim = 128,
       .max_positions = 262144,
       .rms_norm_eps = 1e-5,
       .windows = Windows::kAllLayers,
       .query_growth = true},
      {.model_type = "qwen2",
       .vocab_size = 151936,
       .hidden_size = 4096,
       .intermediate_size = 22016,
       .num_layers = 32,
       .num_heads = 32,
       .num_kv_heads = 32,
       .max_positions = 32768,
       .qkv_bias = kAlways,
       .windows = Windows::kUpperLayers,
       .window = 4096},
      {.model_type = "qwen3",
       .vocab_size = 151936,
       .hidden_size = 4096,
       .intermediate_size = 22016,
       .num_layers = 32,
       .num_heads = 32,
       .num_kv_heads = 32,
       .head_dim = 128,
       .max_positions = 32768,
       .head_norm = HeadNorm::kEachHead,
       .qkv_bias = kByAttentionBias,
       .output_bias = kByAttentionBias,
       .windows = Windows::kUpperLayers,
       .window = 4096},
      {.model_type = "qwen3_vl_text",
       .vocab_size = 151936,
       .hidden_size = 4096,
       .intermediate_size = 22016,
       .num_layers = 32,
       .num_heads = 32,
       .num_kv_heads = 32,
       .head_dim = 128,
       .max_positions = 128000,
       .head_norm = HeadNorm::kEachHead,
       .qkv_bias = kByAttentionBias,
       .output_bias = kByAttentionBias,
       .rope_theta = 5e5,
       .rotary_sections = true},
      {.model_type = "gemma",
       .vocab_size = 256000,
       .hidden_size = 3072,
       .intermediate_size = 24576,
       .num_layers = 28,
       .num_heads = 16,
       .num_kv_heads = 16,
       .head_dim = 256,
       .max_positions = 8192,
       .tied = true,
       .activation = "gelu_pytorch_tanh",
       .norm = kGemmaNorm,
       .qkv_bias = kByAttentionBias,
       .output_bias = kByAttentionBias,
       .scales_embedding_by_root = true},
      {.model_type = "gemma2",
       .vocab_size = 256000,
       .hidden_size = 2304,
       .intermediate_size = 9216,
       .num_layers = 26,
       .num_heads = 8,
       .num_kv_heads = 4,
       .head_dim = 256,
       .max_positions = 8192,
       .tied = true,
       .activation_key = "hidden_activation",
       .activation = "gelu_pytorch_tanh",
       .norm = kGemmaNorm,
       .norms = kGemma2Norms,
       .qkv_bias = kByAttentionBias,
       .output_bias = kByAttentionBias,
       .windows = Windows::kLayerTypes,
       .window = 4096,
       .full_every = 2,
       .query_pre_attn_scalar = true,
       .attention_soft_cap = 50,
       .logit_soft_cap = 30,
       .scales_embedding_by_root = true},
      {.model_type = "gemma3_text",
       .vocab_size = 262208,
       .hidden_size = 2304,
       .intermediate_size = 9216,
       .num_layers = 26,
       .num_heads = 8,
       .num_kv_heads = 4,
       .head_dim = 256,
       .max_positions = 131072,
       .tied = true,
       .activation_key = "hidden_activation",
       .activation = "gelu_pytorch_tanh",
       .norm = kGemmaNorm,
       .norms = kGemma2Norms,
       .head_norm = HeadNorm::kEachHead,
       .qkv_bias = kByAttentionBias,
       .output_bias = kByAttentionBias,
       .windows = Windows::kLayerTypes,
       .window = 4096,
       .full_every = 6,
       .reads_full_every = true,
       .rope = RopeLayout::kByLayerType,
       .rope_theta = 1e6,
       .sliding_rope_theta = 10000,
       .sliding_theta_key = "rope_local_base_freq",
       .query_pre_attn_scalar = true,
       .logit_soft_cap = 0,
       .scales_embedding_by_root = true},
      {.model_type = "phi3",
       .vocab_size = 32064,
       .hidden_size = 3072,
       .intermediate_size = 8192,
       .num_layers = 32,
       .num_heads = 32,
       .max_positions = 4096,
       .rms_norm_eps = 1e-5,
       .fused_qkv = true,
       .fused_gate_up = true,
       .windows = Windows::kAllLayers,
       .partial_rotary = true,
       .original_positions = 4096,
       .yarn_is_longrope = true},
      {.model_type = "olmo2",
       .vocab_size = 50304,
       .hidden_size = 4096,
       .intermediate_size = 11008,
       .num_layers = 32,
       .num_heads = 32,
       .rms_norm_eps = 1e-5,
       .norm = kOlmoNorm,
       .norms = kOlmo2Norms,
       .head_norm = HeadNorm::kProjection,
       .qkv_bias = kByAttentionBias,
       .output_bias = kByAttentionBias},
      {.model_type = "olmo3",
       .vocab_size = 50304,
       .hidden_size = 4096,
       .intermediate_size = 11008,
       .num_layers = 32,
       .num_heads = 32,
       .rms_norm_eps = 1e-5,
       .norm = kOlmoNorm,
       .norms = kOlmo2Norms,
       .head_norm = HeadNorm::kProjection,
       .qkv_bias = kByAttentionBias,
       .output_bias = kByAttentionBias,
       .windows = Windows::kLayerTypes,
       .window = 4096,
       .full_every = 4,
       .rope = RopeLayout::kByLayerType,
       .rope_theta = 5e5,
       .sliding_rope_theta = 5e5},
      {.model_type = "granite",
       .vocab_size = 32000,
       .hidden_size = 4096,
       .intermediate_size = 11008,
       .num_layers = 32,
       .num_heads = 32,
       .qkv_bias = kByAttentionBias,
       .output_bias = kByAttentionBias,
       .feed_forward_bias = kByMlpBias,
       .multipliers = true},
      {.model_type = "smollm3",
       .vocab_size = 128256,
       .hidden_size = 2048,
       .intermediate_size = 11008,
       .num_layers = 36,
       .num_heads = 16,
       .num_kv_heads = 4,
       .max_positions = 32768,
       .tied = true,
       .qkv_bias = kByAttentionBias,
       .output_bias = kByAttentionBias,
       .feed_forward_bias = kByMlpBias,
       .windows = Windows::kUnrotatedLayers,
       .rope_theta = 2e6,
       .unrotated_layers = true},
      {.model_type = "glm4",
       .vocab_size = 151552,
       .hidden_size = 4096,
       .intermediate_size = 13696,
       .num_layers = 40,
       .num_heads = 32,
       .num_kv_heads = 2,
       .head_dim = 128,
       .max_positions = 131072,
       .rms_norm_eps = 1.5625e-7,
       .norms = kGlm4Norms,
       .fused_gate_up = true,
       .qkv_bias = {.key = "attention_bias", .otherwise = true},
       .partial_rotary = true,
       .rotary_share = 0.5,
       .interleaved_rotary = true},
  };
  return rows;
}

constexpr std::int64_t kMaxLayers = 4096;

bool answer(ConfigReader& reader, const Switch& asked) {
  return asked.key == nullptr ? asked.otherwise : reader.flag(asked.key, asked.otherwise);
}

// Activations by transformers' names.
kernels::Activation read_activation(ConfigReader& reader, const FamilyRow& row) {
  using kernels::Activation;
  static const std::map<std::string, Activation> kNames = {
      {"silu", Activation::kSilu},
      {"swish", Activation::kSilu},
      {"gelu", Activation::kGelu},
      {"gelu_new", Activation::kGeluTanh},
      {"gelu_pytorch_tanh", Activation::kGeluTanh}};
  const Json* found = reader.value(row.activation_key);
  const std::string name = found == nullptr     ? row.activation
                           : found->is_string() ? found->get<std::string>()
                                                : "";
  if (const auto known = kNames.find(name); known != kNames.end()) return known->second;
  reader.problem(concat("'", row.activation_key, "': ", found->dump(),
                        " is not implemented (silu, swish, gelu, gelu_new and gelu_pytorch_tanh "
                        "are)"));
  return Activation::kSilu;
}

void read_sizes(ConfigReader& reader, const FamilyRow& row, ModelDescription& model) {
  model.vocab_size = reader.size("vocab_size", row.vocab_size);
  model.hidden_size = reader.size("hidden_size", row.hidden_size);
  model.max_positions = reader.size("max_position_embeddings", row.max_positions);
  std::int64_t layers = reader.size("num_hidden_layers", row.num_layers);
  if (layers > kMaxLayers) {
    reader.problem(concat("'num_hidden_layers' ", layers, " is more than the ", kMaxLayers,
                          " a model may have here"));
    layers = 1;
  }
  model.blocks.resize(static_cast<std::size_t>(layers));
  AttentionDescription& attention = model.attention;
  attention.heads = reader.size("num_attention_heads", row.num_heads);
  // A class default for key heads belongs to the default number of heads; null means as many.
  const bool said = reader.root().contains("num_key_value_heads");
  const std::int64_t kv_default =
      row.num_kv_heads == 0 || said ? attention.heads : row.num_kv_heads;
  attention.kv_heads = reader.size("num_key_value_heads", kv_default);
  if (row.head_dim == 0 && !reader.present("head_dim") && model.hidden_size % attention.heads != 0)
    reader.problem(concat("'hidden_size' ", model.hidden_size,
                          " is no multiple of 'num_attention_heads' ", attention.heads));
  const std::int64_t share = std::max<std::int64_t>(model.hidden_size / attention.heads, 1);
  attention.head_dim = reader.size("head_dim", row.head_dim > 0 ? row.head_dim : share);
  if (attention.head_dim % 2 != 0)
    reader.problem(concat("'head_dim' must be even; it is ", attention.head_dim));
  if (attention.heads % attention.kv_heads != 0) {
    reader.problem(concat("'num_attention_heads' ", attention.heads,
                          " is no multiple of 'num_key_value_heads' ", attention.kv_heads));
  }
}

void lay_out(ConfigReader& reader, const FamilyRow& row, ModelDescription& model) {
  const bool qkv_bias = answer(reader, row.qkv_bias);
  const bool output_bias = answer(reader, row.output_bias);
  const bool mlp_bias = answer(reader, row.feed_forward_bias);
  AttentionDescription& attention = model.attention;
  const std::int64_t queries = attention.query_features();
  const std::int64_t keys = attention.key_features();
  attention.input = {"self_attn.input", model.hidden_size, {}};
  if (row.fused_qkv) {
    attention.input.layers = {{"self_attn.qkv_proj", queries + 2 * keys, qkv_bias}};
  } else {
    attention.input.layers = {{"self_attn.q_proj", queries, qkv_bias},
                              {"self_attn.k_proj", keys, qkv_bias},
                              {"self_attn.v_proj", keys, qkv_bias}};
  }
  attention.output = {
      "self_attn.o_proj.input", queries, {{"self_attn.o_proj", model.hidden_size, output_bias}}};
  FeedForwardDescription& feed_forward = model.feed_forward;
  feed_forward.intermediate = reader.size("intermediate_size", row.intermediate_size);
  feed_forward.activation = read_activation(reader, row);
  const std::int64_t inner = feed_forward.intermediate;
  feed_forward.input = {"mlp.input", model.hidden_size, {}};
  if (row.fused_gate_up) {
    feed_forward.input.layers = {{"mlp.gate_up_proj", 2 * inner, mlp_bias}};
  } else {
    feed_forward.input.layers = {{"mlp.gate_proj", inner, mlp_bias},
                                 {"mlp.up_proj", inner, mlp_bias}};
  }
  feed_forward.output = {
      "mlp.down_proj.input", inner, {{"mlp.down_proj", model.hidden_size, mlp_bias}}};
}

// Which layers are sliding ones by `layer_types`, or by the family's rule where it is absent.
std::vector<bool> read_sliding(ConfigReader& reader, const FamilyRow& row, bool windowed,
                               std::size_t count) {
  std::vector<bool> sliding(count, false);
  const std::int64_t full_every =
      row.reads_full_every ? reader.size("sliding_window_pattern", row.full_every) : row.full_every;
  const auto rule = [&](std::int64_t i) {
    switch (row.windows) {
      case Windows::kNone:
        return false;
      case Windows::kAllLayers:
        return windowed;
      case Windows::kLayerTypes:
        return full_every == 0 ? windowed : (i + 1) % full_every != 0;
      case Windows::kUpperLayers:
        return windowed && i >= reader.count("max_window_layers", 28);
      case Windows::kUnrotatedLayers:
        return false;  // known once rotation is
    }
    return false;
  };
  for (std::size_t i = 0; i < count; ++i) sliding[i] = rule(static_cast<std::int64_t>(i));
  if (row.windows == Windows::kNone || row.windows == Windows::kAllLayers) return sliding;
  const Json* list = reader.value("layer_types");
  if (list == nullptr) return sliding;
  bool good = list->is_array() && list->size() == count;
  for (std::size_t i = 0; good && i < count; ++i) {
    const Json& type = (*list)[i];
    good = type == "full_attention" || type == "sliding_attention";
    sliding[i] = type == "sliding_attention";
  }
  if (!good)
    reader.problem(concat("'layer_types' must be a list of ", count,
                          " words, each full_attention or sliding_attention"));
  return sliding;
}

// The window of sliding layers; 0 where there is none.
std::int64_t read_window(ConfigReader& reader, const FamilyRow& row) {
  const bool asks =
      row.windows == Windows::kUpperLayers || row.windows == Windows::kUnrotatedLayers;
  const bool used = !asks || reader.flag("use_sliding_window", false);
  // null is a value here and means no window.
  const bool said = reader.root().contains("sliding_window");
  const Json* found = reader.value("sliding_window");
  if (!used || (said && found == nullptr)) return 0;
  return found == nullptr ? row.window : reader.size("sliding_window");
}

void read_windows_and_rotation(ConfigReader& reader, const FamilyRow& row,
                               ModelDescription& model) {
  if (row.windows == Windows::kNone) return read_rotaries(reader, row, {}, model);
  const std::int64_t window = read_window(reader, row);
  std::vector<bool> sliding = read_sliding(reader, row, window > 0, model.blocks.size());
  read_rotaries(reader, row, sliding, model);
  const bool by_rotation =
      row.windows == Windows::kUnrotatedLayers && !reader.present("layer_types") && window > 0;
  for (std::size_t i = 0; i < sliding.size(); ++i) {
    if (by_rotation) sliding[i] = model.blocks[i].rotary < 0;
    if (sliding[i]) model.blocks[i].window = window;
  }
  const bool any = std::find(sliding.begin(), sliding.end(), true) != sliding.end();
  if (any && window == 0)
    reader.problem("'layer_types' has sliding_attention, but there is no 'sliding_window'");
}

void read_scalars(ConfigReader& reader, const FamilyRow& row, ModelDescription& model) {
  model.norm_eps = reader.number("rms_norm_eps", row.rms_norm_eps);
  AttentionDescription& attention = model.attention;
  double scale_base = static_cast<double>(attention.head_dim);
  if (row.query_pre_attn_scalar) scale_base = reader.number("query_pre_attn_scalar", 256);
  attention.scale = 1 / std::sqrt(scale_base);
  // null is a value here and means no cap.
  const auto cap = [&](const char* key, double otherwise) {
    if (otherwise < 0) return 0.0;
    const Json* found = reader.value(key);
    return found == nullptr && reader.root().contains(key) ? 0.0 : reader.number(key, otherwise);
  };
  attention.soft_cap = cap("attn_logit_softcapping", row.attention_soft_cap);
  model.logit_soft_cap = cap("final_logit_softcapping", row.logit_soft_cap);
  if (row.scales_embedding_by_root) {
    model.embedding_scale = std::sqrt(static_cast<double>(model.hidden_size));
    model.rounds_embedding_scale = true;
  }
  if (row.multipliers) {
    model.embedding_scale = reader.number("embedding_multiplier", 1);
    attention.scale = reader.number("attention_multiplier", 1);
    model.residual_scale = reader.number("residual_multiplier", 1);
    model.logit_scale = 1 / reader.number("logits_scaling", 1);
  }
}

}  // namespace

const FamilyRow* find_family(std::string_view model_type) {
  for (const FamilyRow& row : table()) {
    if (row.model_type == model_type) return &row;
  }
  return nullptr;
}

std::vector<std::string> family_names() {
  std::vector<std::string> names;
  for (const FamilyRow& row : table()) names.emplace_back(row.model_type);
  return names;
}

ModelDescription describe(ConfigReader& reader, const FamilyRow& row) {
  ModelDescription model;
  model.family = row.model_type;
  model.norm = row.norm;
  model.norms = row.norms;
  model.attention.head_norm = row.head_norm;
  model.tied = reader.flag("tie_word_embeddings", row.tied);
  read_sizes(reader, row, model);
  lay_out(reader, row, model);
  read_scalars(reader, row, model);
  read_windows_and_rotation(reader, row, model);
  return model;
}

}  // namespace corda::model
