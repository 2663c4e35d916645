// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "model/config_keys.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "quant/quantisation_config.h"

namespace corda::model {

using core::concat;
using core::Json;

namespace {

// Known keys that say nothing about the forward pass of a text model.
const std::set<std::string>& silent_keys() {
  static const std::set<std::string> keys = {"architectures",
                                             "attn_implementation",
                                             "auto_map",
                                             "bad_words_ids",
                                             "begin_suppress_tokens",
                                             "bos_token_id",
                                             "cache_implementation",
                                             "chunk_size_feed_forward",
                                             "classifier_dropout",
                                             "cross_attention_hidden_size",
                                             "decoder_start_token_id",
                                             "diversity_penalty",
                                             "do_sample",
                                             "dtype",
                                             "early_stopping",
                                             "encoder_no_repeat_ngram_size",
                                             "eos_token",
                                             "eos_token_id",
                                             "exponential_decay_length_penalty",
                                             "finetuning_task",
                                             "forced_bos_token_id",
                                             "forced_eos_token_id",
                                             "id2label",
                                             "initializer_range",
                                             "is_decoder",
                                             "is_llama_config",
                                             "keys_to_ignore_at_inference",
                                             "label2id",
                                             "length_penalty",
                                             "max_length",
                                             "max_sequence_length",
                                             "max_window_layers",
                                             "min_length",
                                             "model_type",
                                             "name_or_path",
                                             "no_repeat_ngram_size",
                                             "num_beam_groups",
                                             "num_beams",
                                             "num_labels",
                                             "num_return_sequences",
                                             "output_attentions",
                                             "output_hidden_states",
                                             "output_scores",
                                             "pad_token",
                                             "pad_token_id",
                                             "prefix",
                                             "pretraining_tp",
                                             "problem_type",
                                             "pruned_heads",
                                             "remove_invalid_values",
                                             "repetition_penalty",
                                             "return_dict",
                                             "return_dict_in_generate",
                                             "sep_token_id",
                                             "suppress_tokens",
                                             "task_specific_params",
                                             "temperature",
                                             "tf_legacy_loss",
                                             "tie_encoder_decoder",
                                             "tokenizer_class",
                                             "top_k",
                                             "top_p",
                                             "torch_dtype",
                                             "torchscript",
                                             "transformers.js_config",
                                             "transformers_version",
                                             "typical_p",
                                             "unk_token_id",
                                             "unsloth_fixed",
                                             "unsloth_version",
                                             "use_bfloat16",
                                             "use_cache",
                                             "bos_token",
                                             "_attn_implementation",
                                             "attn_pdrop"};
  return keys;
}

// Dropout acts in transformers' training alone; corda's training has its own setting.
bool is_dropout(const std::string& key) {
  return key.ends_with("dropout") || key.ends_with("pdrop") || key.ends_with("dropout_prob");
}

// Keys that change the mathematics of some model, with the values that change nothing where a model
// does not read them. Null, empty lists and empty objects never do.
const std::map<std::string, std::vector<Json>>& mathematical_keys() {
  static const std::map<std::string, std::vector<Json>> keys = {
      // Keys of families that are read here.
      {"attention_bias", {false}},
      {"attention_multiplier", {1.0}},
      {"attn_logit_softcapping", {false}},
      {"embedding_multiplier", {1.0}},
      {"final_logit_softcapping", {false}},
      {"hidden_act", {}},
      {"hidden_activation", {}},
      {"layer_types", {}},
      {"llama_4_scaling_beta", {}},
      {"logits_scaling", {1.0}},
      {"mlp_bias", {false}},
      {"no_rope_layer_interval", {}},
      {"no_rope_layers", {}},
      {"partial_rotary_factor", {1.0}},
      {"query_pre_attn_scalar", {}},
      {"residual_multiplier", {1.0}},
      {"rope_local_base_freq", {}},
      {"sliding_window", {}},
      {"sliding_window_pattern", {}},
      {"use_sliding_window", {false}},
      // Keys of families that are not read.
      {"add_cross_attention", {false}},
      {"alibi", {false}},
      {"attention_chunk_size", {}},
      {"attention_out_bias", {false}},
      {"attn_output_gate", {false}},
      {"bias", {false}},
      {"block_configs", {}},
      {"clip_qkv", {}},
      {"cross_attn_every_n_layers", {}},
      {"draft_vocab_size", {}},
      {"expert_layer_period", {}},
      {"first_k_dense_replace", {0}},
      {"hidden_size_per_layer_input", {0}},
      {"is_causal", {true}},
      {"is_encoder_decoder", {false}},
      {"kv_lora_rank", {}},
      {"layer_norm_eps", {}},
      {"layer_norm_epsilon", {}},
      {"lm_head_bias", {false}},
      {"logit_scale", {1.0}},
      {"moe_intermediate_size", {}},
      {"mup_width_scale", {1.0}},
      {"n_routed_experts", {}},
      {"num_experts", {0}},
      {"num_experts_per_tok", {0}},
      {"num_kv_shared_layers", {0}},
      {"num_local_experts", {0}},
      {"parallel_attn", {false}},
      {"per_layer_config", {}},
      {"q_lora_rank", {}},
      {"qk_layernorm", {false}},
      {"quantization", {}},
      {"rope_interleaved", {false}},
      {"rope_pct", {1.0}},
      {"rope_ratio", {1.0}},
      {"rotary_dim", {}},
      {"rotary_pct", {1.0}},
      {"scale_depth", {}},
      {"scale_emb", {1.0}},
      {"use_bidirectional_attention", {false}},
      {"use_dynamic_ntk", {false}},
      {"use_logn_attn", {false}},
      {"use_mrope", {false}},
      {"use_qk_norm", {false}},
      {"use_qkv_bias", {false}},
      {"v_head_dim", {}}};
  return keys;
}

bool is_empty(const Json& value) {
  return value.is_null() || ((value.is_array() || value.is_object()) && value.empty());
}

// Whether a key that changes some model changes nothing here for reasons of its own.
bool is_harmless(const Json& root, const FamilyRow& row, const std::string& key,
                 const Json& value) {
  // A converted model keeps the window beside the word that turns it off.
  if (key == "sliding_window") {
    const auto asked = root.find("use_sliding_window");
    return asked != root.end() && *asked == false;
  }
  if (key == "layer_types" && row.windows == Windows::kNone)
    return value.is_array() && std::all_of(value.begin(), value.end(),
                                           [](const Json& v) { return v == "full_attention"; });
  if (key == "sliding_window_pattern") return row.full_every > 0 && value == row.full_every;
  // The other spelling of the activation may say the same.
  if (key == "hidden_act" || key == "hidden_activation") {
    const auto read = root.find(row.activation_key);
    return value == (read == root.end() || read->is_null() ? Json(row.activation) : *read);
  }
  return false;
}

// transformers' models of every family look at these, or the weights are other ones with them.
bool acts_everywhere(const std::string& key) {
  static const std::set<std::string> keys = {"add_cross_attention", "is_causal",
                                             "is_encoder_decoder",  "layer_types",
                                             "per_layer_config",    "quantization"};
  return keys.contains(key);
}

// transformers' class for a family passes over the keys that the family's row does not read.
std::string advice(const FamilyRow& row, const std::string& key) {
  // Gemma's classes alone turn causal masks off.
  const bool turns_off_masks =
      key == "use_bidirectional_attention" && std::string_view(row.model_type).starts_with("gemma");
  if (acts_everywhere(key) || turns_off_masks) return "";
  return concat(
      "; transformers ignores it for this family: remove the key, or set it to null, for ",
      "the same");
}

// Whether the family fixes what this key would say, whatever the file has.
bool is_fixed(const FamilyRow& row, const std::string& key) {
  return key == "attention_bias" && row.qkv_bias.key == nullptr && row.qkv_bias.otherwise;
}

}  // namespace

void refuse_quantisation(ConfigReader& reader) {
  const Json* found = reader.value("quantization_config");
  if (found == nullptr || is_empty(*found) || *found == false) return;
  const std::string why = quant::why_not_read(*found);
  if (!why.empty()) reader.problem(concat("'quantization_config': ", why));
}

void check_other_keys(ConfigReader& reader, const FamilyRow& row, std::vector<std::string>& notes) {
  refuse_quantisation(reader);
  std::vector<std::string> unknown = reader.ignored();
  for (const auto& [key, value] : reader.root().items()) {
    if (reader.was_read(key) || is_empty(value) || silent_keys().contains(key)) continue;
    const auto known = mathematical_keys().find(key);
    if (known == mathematical_keys().end()) {
      const bool idle = value == false || (is_dropout(key) && value == 0);
      if (!key.starts_with('_') && !idle) unknown.push_back(key);
      continue;
    }
    const auto& neutral = known->second;
    const bool changes_nothing =
        !is_fixed(row, key) && (std::find(neutral.begin(), neutral.end(), value) != neutral.end() ||
                                is_harmless(reader.root(), row, key, value));
    if (!changes_nothing) {
      reader.problem(concat("'", key, "': ", value.dump().substr(0, 80),
                            " changes the mathematics of a model and is not implemented for ",
                            row.model_type, advice(row, key)));
    }
  }
  if (!unknown.empty())
    notes.push_back(
        concat("config.json has keys that change nothing here: ", core::listed(unknown)));
}

}  // namespace corda::model
