# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""Writes tests/model/config_rules.tsv: what one key, or none, means to each family.

    python scripts/golden/config_rules.py

The first column is a config.json on one line. Where it is read, the geometry is that of the model which the
pinned transformers builds from it (see published_configs.py); what a case leaves out is the default of its class.
Where it is refused, the message must contain the word. transformers itself may build a model from such a file:
then it ignores the key, which is the reason to refuse it.
"""

import json
import tempfile
from pathlib import Path

import published_configs

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
YARN = {"rope_type": "yarn", "factor": 8.0}
LINEAR = {"rope_type": "linear", "factor": 4.0}
LONG = {"short_factor": [1.0] * 48, "long_factor": [2.0] * 48}  # Phi-3's heads have 96 elements
NESTED = {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 300000.0},
          "sliding_attention": {"rope_type": "default", "rope_theta": 20000.0}}
SLIDING, FULL = "sliding_attention", "full_attention"

READ = {
    "llama": [
        {}, {"num_key_value_heads": None, "num_attention_heads": 16}, {"num_key_value_heads": 8}, {"head_dim": 64},
        {"attention_bias": True}, {"mlp_bias": True}, {"tie_word_embeddings": True}, {"rms_norm_eps": 1e-5},
        {"hidden_act": "gelu"}, {"hidden_act": "gelu_pytorch_tanh"}, {"attention_bias": False, "mlp_bias": False},
        {"use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28}, {"sliding_window": None},
        {"layer_types": [FULL] * 32}, {"pretraining_tp": 2}, {"rope_interleaved": False}, {"use_mrope": False}, {"bias": False},
        {"partial_rotary_factor": 1.0}, {"is_llama_config": True, "unk_token_id": 0, "anything_a_tool_adds": 1},
        # The dictionary before the key beside it, that before the default.
        {"rope_theta": 1e6}, {"rope_theta": 1e6, "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
        {"rope_theta": 1e6, "rope_parameters": {"rope_type": "default"}},
        {"rope_theta": 1e6, "rope_scaling": {**LINEAR, "rope_theta": 5e5}}, {"rope_theta": 1e6, "rope_scaling": None},
        # The old key before the new one, whole, unless it is empty.
        {"rope_scaling": LINEAR, "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
        {"rope_scaling": {}, "rope_parameters": {**LINEAR, "rope_theta": 5e5}},
        {"rope_scaling": {"type": "linear", "factor": 4.0}}, {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
        {"rope_parameters": {"rope_theta": 5e5}},
        # Positions before the stretching: beside the dictionary, in it, those of the model.
        {"rope_scaling": LLAMA3}, {"rope_scaling": {**LLAMA3, "original_max_position_embeddings": 64}},
        {"rope_scaling": LLAMA3, "original_max_position_embeddings": 64},
        {"rope_scaling": {**LLAMA3, "original_max_position_embeddings": 64}, "original_max_position_embeddings": 32},
        # What no type uses, and what this one has no use of.
        {"rope_scaling": {**LLAMA3, "finetuned": True, "attn_factor": 2.0}}, {"rope_parameters": {"rope_type": "default", "note": "x"}},
        {"rope_scaling": {**LINEAR, "original_max_position_embeddings": 64}},
    ],
    "mistral": [{}, {"sliding_window": None}, {"sliding_window": 512}, {"num_attention_heads": 16}, {"head_dim": 96},
                {"attention_bias": False}],
    "ministral": [{"head_dim": 128}, {"head_dim": 128, "sliding_window": None, "layer_types": [FULL] * 32},
                  {"head_dim": 128, "layer_types": [FULL, SLIDING] * 16}],
    "ministral3": [{}, {"sliding_window": 512}, {"rope_theta": 5e5}, {"num_attention_heads": 16},
                   {"rope_parameters": {**YARN, "rope_theta": 1e8, "original_max_position_embeddings": 8192,
                                        "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1}}],
    "qwen2": [
        {}, {"num_key_value_heads": None, "num_attention_heads": 16}, {"head_dim": 64}, {"sliding_window": 512},
        {"use_sliding_window": True}, {"use_sliding_window": True, "sliding_window": 512, "max_window_layers": 3},
        {"use_sliding_window": True, "sliding_window": None},
        {"use_sliding_window": True, "layer_types": [FULL, SLIDING] * 16, "max_window_layers": 32},
    ],
    "qwen3": [
        {}, {"hidden_size": 1024, "num_attention_heads": 16, "num_key_value_heads": 8}, {"attention_bias": True},
        {"head_dim": 64}, {"use_sliding_window": True, "max_window_layers": 30},
        {"rope_scaling": YARN}, {"rope_scaling": {**YARN, "original_max_position_embeddings": 64}},
        {"rope_scaling": {**YARN, "factor": None, "original_max_position_embeddings": 8192}},
        {"rope_scaling": {**YARN, "attention_factor": 1.5, "original_max_position_embeddings": 64}},
        {"rope_scaling": {**YARN, "mscale": 1.0, "mscale_all_dim": 0.5, "original_max_position_embeddings": 64}},
        {"rope_scaling": {**YARN, "mscale": 0.7, "original_max_position_embeddings": 64}},  # one alone does nothing
        {"rope_scaling": {**YARN, "finetuned": True, "attn_factor": 2.0, "original_max_position_embeddings": 64}},
    ],
    "gemma": [{}, {"hidden_act": "gelu"}, {"hidden_size": 2048, "num_attention_heads": 8, "num_key_value_heads": 1},
              {"tie_word_embeddings": False}, {"attention_bias": True}, {"use_bidirectional_attention": None}],
    "gemma2": [{}, {"query_pre_attn_scalar": 144}, {"attn_logit_softcapping": None}, {"final_logit_softcapping": None},
               {"attn_logit_softcapping": 20.0, "final_logit_softcapping": 10.0}, {"sliding_window": 512},
               {"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh"},
               {"layer_types": [FULL, SLIDING] * 12 + [FULL] * 2}],
    "gemma3_text": [
        {}, {"sliding_window_pattern": 3, "sliding_window": 512}, {"layer_types": [FULL] * 6 + [SLIDING] * 20},
        {"final_logit_softcapping": 30.0}, {"query_pre_attn_scalar": 168}, {"attention_bias": True},
        {"rope_theta": 7e5, "rope_local_base_freq": 2e4}, {"rope_scaling": {"rope_type": "linear", "factor": 8.0}},
        {"rope_theta": 7e5, "rope_scaling": {"rope_type": "linear", "factor": 8.0, "rope_theta": 3e5}},
        {"rope_parameters": NESTED}, {"rope_theta": 7e5, "rope_local_base_freq": 3e4, "rope_parameters": NESTED},
        {"rope_theta": 7e5, "rope_local_base_freq": 3e4,
         "rope_parameters": {FULL: {"rope_type": "default"}, SLIDING: {"rope_type": "default"}}},
        {"rope_theta": 7e5, "rope_parameters": {SLIDING: {"rope_type": "default", "rope_theta": 3e4}}},
    ],
    "phi3": [
        {}, {"sliding_window": 2047}, {"partial_rotary_factor": 0.75}, {"num_key_value_heads": None, "num_attention_heads": 24},
        {"partial_rotary_factor": 0.5, "rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.75}},
        {"max_position_embeddings": 131072, "rope_scaling": {"type": "longrope", **LONG}},
        {"max_position_embeddings": 131072, "rope_scaling": {"type": "longrope", **LONG}, "original_max_position_embeddings": 8192},
        # Phi-3 has the key beside the dictionary, so the one in it never counts.
        {"max_position_embeddings": 131072, "rope_scaling": {"type": "longrope", **LONG, "original_max_position_embeddings": 8192}},
        {"max_position_embeddings": 131072, "rope_scaling": {"type": "longrope", **LONG, "factor": 4.0}},
        {"max_position_embeddings": 131072, "rope_scaling": {"type": "longrope", **LONG, "attention_factor": 1.5}},
        {"max_position_embeddings": 131072, "rope_scaling": {"type": "yarn", **LONG}},
        {"lm_head_bias": False, "attention_bias": False, "mlp_bias": False, "full_attn_mod": 1, "interpolate_factor": 1},
    ],
    "olmo2": [{}, {"num_key_value_heads": 8}, {"attention_bias": True}, {"head_dim": 64}],
    "olmo3": [{}, {"layer_types": [FULL] * 30 + [SLIDING] * 2, "sliding_window": 512}, {"rope_parameters": NESTED},
              {"rope_theta": 7e5},  # of full layers alone
              {"rope_scaling": {**YARN, "original_max_position_embeddings": 64, "attention_factor": 1.2}}],
    "granite": [{}, {"embedding_multiplier": 12.0, "residual_multiplier": 0.22, "attention_multiplier": 0.0078125,
                     "logits_scaling": 8.0}, {"attention_bias": True}, {"mlp_bias": True}],
    "smollm3": [{}, {"num_key_value_heads": None}, {"no_rope_layer_interval": 3}, {"no_rope_layers": [1, 0] * 18},
                {"use_sliding_window": True, "sliding_window": 512}, {"max_window_layers": 28, "pretraining_tp": 2},
                {"use_sliding_window": True, "sliding_window": 512, "layer_types": [SLIDING] * 4 + [FULL] * 32}],
    "glm4": [{}, {"attention_bias": False}, {"partial_rotary_factor": 0.25}, {"rope_scaling": LINEAR},
             {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 1.0}}],
    "gemma3": [{"text_config": {}}, {"text_config": {"model_type": "gemma3_text", "hidden_size": 2560}},
               {"tie_word_embeddings": False, "text_config": {"tie_word_embeddings": True}}],
    "mistral3": [{"tie_word_embeddings": False, "text_config": {"model_type": "ministral3"}},
                 {"tie_word_embeddings": False, "text_config": {"model_type": "mistral", "sliding_window": None}},
                 {"tie_word_embeddings": True, "text_config": {"model_type": "mistral"}}],
    "qwen3_vl": [{"text_config": {}}, {"tie_word_embeddings": True, "text_config": {
        "rope_theta": 5e6, "rope_scaling": {"rope_type": "default", "mrope_section": [24, 20, 20], "mrope_interleaved": True}}}],
}

# The word, then the case.
REFUSED = {
    "llama": [
        ("sliding_window", {"sliding_window": 4096}), ("layer_types", {"layer_types": [SLIDING] * 32}),
        ("no_rope_layers", {"no_rope_layers": [0] * 32}), ("partial_rotary_factor", {"partial_rotary_factor": 0.5}),
        ("embedding_multiplier", {"embedding_multiplier": 12.0}), ("logits_scaling", {"logits_scaling": 8.0}),
        ("query_pre_attn_scalar", {"query_pre_attn_scalar": 256}), ("attn_logit_softcapping", {"attn_logit_softcapping": 50.0}),
        ("final_logit_softcapping", {"final_logit_softcapping": 30.0}), ("hidden_activation", {"hidden_activation": "gelu"}),
        ("rope_local_base_freq", {"rope_local_base_freq": 1e4}), ("is_causal", {"is_causal": False}),
        ("per_layer_config", {"per_layer_config": {"1": {"intermediate_size": 64}}}), ("num_experts", {"num_experts": 8}),
        ("rope_interleaved", {"rope_interleaved": True}), ("use_mrope", {"use_mrope": True}), ("bias", {"bias": True}),
        ("draft_vocab_size", {"draft_vocab_size": 32000}), ("hidden_act", {"hidden_act": "relu2"}),
        ("quantization_config", {"quantization_config": {"quant_method": "hqq", "bits": 4}}),
        ("quantization", {"quantization": {"group_size": 64, "bits": 4}}), ("rope_scaling", {"rope_scaling": {"type": "su", "factor": 2.0}}),
        ("rope_parameters", {"rope_parameters": NESTED}),
        ("beta_fast", {"rope_scaling": {**LLAMA3, "beta_fast": 32}}), ("attention_factor", {"rope_scaling": {**LINEAR, "attention_factor": 2.0}}),
        ("short_factor", {"rope_scaling": {"type": "dynamic", "factor": 2.0, "short_factor": [1.0] * 64}}),
    ],
    "mistral": [("attention_bias", {"attention_bias": True}), ("layer_types", {"layer_types": [FULL] * 32})],
    "qwen2": [("attention_bias", {"attention_bias": False}), ("attention_bias", {"attention_bias": True}),
              ("layer_types", {"layer_types": [SLIDING] * 32}), ("layer_types", {"layer_types": [FULL] * 3})],
    "qwen3": [("rope_parameters", {"rope_parameters": NESTED}), ("mlp_bias", {"mlp_bias": True})],
    "gemma": [("use_bidirectional_attention", {"use_bidirectional_attention": True}),
              ("hidden_activation", {"hidden_activation": "silu"})],
    "gemma2": [("sliding_window", {"sliding_window": None}), ("sliding_window_pattern", {"sliding_window_pattern": 3})],
    "gemma3_text": [("attn_logit_softcapping", {"attn_logit_softcapping": 50.0}),
                    ("rope_parameters", {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}})],
    "phi3": [("attention_bias", {"attention_bias": True}), ("lm_head_bias", {"lm_head_bias": True}),
             ("rope_scaling.short_factor", {"rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": [1.0] * 48}})],
    "smollm3": [("no_rope_layers", {"no_rope_layers": [1, 0]})],
}


def main():
    published_configs.start()
    rows = []
    for family, cases in READ.items():
        for case in cases:
            config = {"model_type": family, **case}
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "config.json").write_text(json.dumps(config))
                try:
                    rows.append(published_configs.row_of(json.dumps(config), None, published_configs.geometry(folder, config)))
                except Exception as error:
                    raise SystemExit(f"{config}: {type(error).__name__}: {error}") from error
    for family, cases in REFUSED.items():
        rows += [published_configs.row_of(json.dumps({"model_type": family, **case}), word, {}) for word, case in cases]
    published_configs.write_table("config_rules.tsv", "config", rows)


if __name__ == "__main__":
    main()
