# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""Writes tests/model/published_configs.tsv: what each config.json of a folder means, or why it is refused.

    python scripts/golden/published_configs.py DIR    # DIR/**/config.json

A row that is read has the geometry of the model that the pinned transformers builds from the file, on the
meta device: what a module shows (biases, windows, rotated dimensions) is taken from the module, not from the
file. For a wrapper it is the geometry of its text tower. A row that is refused has the word that the message
must contain: the model type where there is no such family, else the key that REFUSED names.
The pattern has a letter a layer: F full, S windowed, small where it is not rotated.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import golden  # first: it sets the environment of transformers
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

FAMILIES = {"llama", "mistral", "ministral", "ministral3", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3",
            "olmo2", "olmo3", "granite", "smollm3", "glm4"}
CONFIGURED_WINDOW = {"mistral", "ministral3", "phi3"}
WRAPPERS = {"gemma3": {"gemma3_text"}, "mistral3": {"mistral", "ministral3"}, "qwen3_vl": {"qwen3_vl_text"}}

# The judgement: keys that a file of a known family may have and that make another model of it.
REFUSED = {
    "quantization_config": "the weights are stored in codes that are not read (MXFP4, MLX): methods not in CODES",
    "quantization": "MLX's own name of the same",
    "draft_vocab_size": "a draft head of EAGLE-3: its one layer is fed with the hidden states of another model",
}

CODES = {"awq", "bitsandbytes", "compressed-tensors", "fp8", "gptq"}  # methods of quantisation that are read

ANY = object()
# Keys that this family's class does not have and that change the formulas of some other model: the values that
# change nothing here, and why. A file that is read has no other such key, or check() stops.
HARMLESS = {
    "attention_bias": ([False], "the family has no biases in attention"),
    "attention_dropout": (ANY, "acts in training alone"),
    "auto_map": (ANY, "the repository also carries code; transformers has the family itself"),
    # EAGLE's first draft heads have it, for a layer that their config.json does not mention otherwise: their
    # file describes a Llama of one layer, and only the names of the tensors tell.
    "bias": ([False], "the family has none"),
    "full_attn_mod": ([1], "every layer"),
    "interpolate_factor": ([1], "no interpolation"),
    "lm_head_bias": ([False], "the family has none"),
    "max_window_layers": (ANY, "acts through a window alone, which is judged by itself"),
    "mlp_bias": ([False], "the family has none"),
    "pretraining_tp": (ANY, "slices of one product; transformers 5 does not read it"),
    "rope_interleaved": ([False], "the family turns halves"),
    "rotary_emb_base": (ANY, "Qwen 1's name of rope_theta"),
    "sliding_window_pattern": (ANY, "read by Gemma 3 alone, where it becomes layer_types"),
    "use_mrope": ([False], "text has one position"),
}

# Keys that no model has in its formulas.
INERT = {"quantization_config", "_name_or_path", "architectures", "bos_token_id", "cache_implementation", "eos_token_id", "initializer_range",
         "internal_version", "is_llama_config", "max_length", "max_sequence_length", "model_type", "pad_token_id",
         "seq_length", "torch_dtype", "transformers.js_config", "transformers_version", "unk_token_id",
         "unsloth_fixed", "unsloth_version", "use_cache"}

# Rotation is read from keys that the classes have under other names, or none.
ROTATION = {"head_dim", "partial_rotary_factor", "rope_local_base_freq", "rope_scaling", "rope_theta"}
ROPE = {"attention_factor", "beta_fast", "beta_slow", "factor", "high_freq_factor", "llama_4_scaling_beta", "long_factor",
        "low_freq_factor", "mscale", "mscale_all_dim", "original_max_position_embeddings", "partial_rotary_factor",
        "rope_theta", "rope_type", "short_factor", "truncate", "type"}

STRETCHED = {"llama3", "yarn", "longrope"}  # from a number of positions of their own
FACTORED = {"linear", "dynamic", "llama3", "yarn"}  # a factor of longrope acts through the magnitude alone

GEOMETRY = ["family", "layers", "hidden", "intermediate", "heads", "kv_heads", "head_dim", "vocab", "tied", "activation",
            "rope_type", "rope_theta", "rope_factor", "rope_magnitude", "rope_positions",
            "query_growth", "rotary_dims", "local_theta", "window",
            "windowed_layers", "unrotated_layers", "pattern", "softmax_scale", "qkv_bias", "o_bias", "mlp_bias", "attention_cap",
            "logit_cap", "embedding_scale", "residual_scale", "logit_divisor", "norm_eps", "parameters"]


def text_of(config):
    """The configuration of the text tower, from the file: a dict."""
    return config.get("text_config", config) if config.get("model_type") in WRAPPERS else config


def refusal(config):
    """The word that the message must contain, or None where the file is to be read."""
    kind = config.get("model_type")
    if kind is None:
        return "model_type"
    if kind not in FAMILIES and kind not in WRAPPERS:
        return kind
    for key in REFUSED:
        if key == "quantization_config" and (config.get(key) or {}).get("quant_method") in CODES:
            continue
        if config.get(key) is not None or text_of(config).get(key) is not None:
            return key
    inner = text_of(config).get("model_type", kind)
    return inner if kind in WRAPPERS and inner not in WRAPPERS[kind] else None


def check(path, config, family):
    """Each key of a file that is read is one of transformers' class, inert, or harmless."""
    known = {field.name for field in dataclasses.fields(CONFIG_MAPPING[family])} | INERT | ROTATION
    for key, value in config.items():
        harmless, _ = HARMLESS.get(key, ([], ""))
        if key not in known and value is not None and harmless is not ANY and value not in harmless:
            raise SystemExit(f"{path}: nobody has judged {key}: {value!r}")
    for key in ("rope_scaling", "rope_parameters"):
        if config.get(key) and config[key].keys() - ROPE:
            raise SystemExit(f"{path}: nobody has judged {sorted(config[key].keys() - ROPE)} in {key}")


def figure(value):
    """A number with six digits as C writes it; a base is a whole number and may need ten."""
    return f"{float(value):.10g}" if float(value).is_integer() else f"{float(value):.6g}"


def tower(model):
    """The text model without its head."""
    inner = model.model
    return inner.language_model if hasattr(inner, "language_model") else inner


def halves(text, rotary):
    """(parameters, frequencies, magnitude) of the full layers' rotation, and of the windowed ones' where they differ."""
    def half(prefix, parameters):
        frequencies = getattr(rotary, prefix + "inv_freq", None)
        return parameters, frequencies, getattr(rotary, prefix + "attention_scaling", None)

    rope = text.rope_parameters
    if "full_attention" in rope:
        return half("full_attention_", rope["full_attention"]), half("sliding_attention_", rope["sliding_attention"])
    return half("", rope), None


def window_of(text, attention):
    """The keys that a layer sees; 0: all before it. Layers without a word of their own follow the configuration."""
    if hasattr(attention, "sliding_window"):
        return attention.sliding_window or 0
    return getattr(text, "sliding_window", None) or 0 if text.model_type in CONFIGURED_WINDOW else 0


def parameters_of(model, tied):
    """Of the text tower and its head, each tensor once."""
    count = sum(p.numel() for p in tower(model).parameters())
    return count + (0 if tied else model.lm_head.weight.numel())


def factor_of(text, rope):
    if rope["rope_type"] not in FACTORED:
        return 1
    return rope["factor"] or text.max_position_embeddings / rope["original_max_position_embeddings"]


def geometry(folder, config):
    """The geometry of the model that transformers builds from folder/config.json, a figure a column."""
    built = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    auto = AutoModelForImageTextToText if config["model_type"] in WRAPPERS else AutoModelForCausalLM
    with torch.device("meta"):
        model = auto.from_config(built, trust_remote_code=False, attn_implementation="eager")
    text = built.get_text_config()
    body = tower(model)
    blocks = [layer.self_attn for layer in body.layers]
    block, mlp = blocks[0], body.layers[0].mlp
    (rope, frequencies, magnitude), local = halves(text, body.rotary_emb)
    windows = [window_of(text, b) for b in blocks]
    letters = zip(windows, (getattr(b, "use_rope", 1) for b in blocks))
    pattern = "".join("FS"[window > 0] if turned else "fs"[window > 0] for window, turned in letters)
    tied = bool(built.tie_word_embeddings)
    query = block.qkv_proj if hasattr(block, "qkv_proj") else block.q_proj
    norm = body.norm
    return {
        "family": text.model_type, "layers": len(blocks), "hidden": text.hidden_size, "intermediate": text.intermediate_size,
        "heads": text.num_attention_heads, "kv_heads": text.num_key_value_heads, "head_dim": block.head_dim,
        "vocab": model.lm_head.out_features, "tied": int(tied),
        "activation": getattr(text, "hidden_activation", None) or text.hidden_act,
        "rope_type": rope["rope_type"], "rope_theta": figure(rope["rope_theta"]),
        "rope_factor": figure(factor_of(text, rope)), "rope_magnitude": figure(magnitude),
        "rope_positions": rope["original_max_position_embeddings"] if rope["rope_type"] in STRETCHED else 0,
        "query_growth": figure(rope.get("llama_4_scaling_beta") or 0), "rotary_dims": 2 * len(frequencies),
        "local_theta": figure(local[0]["rope_theta"] if local else rope["rope_theta"]),
        "window": max(windows), "windowed_layers": sum(w > 0 for w in windows),
        "unrotated_layers": pattern.count("f") + pattern.count("s"), "pattern": pattern, "softmax_scale": figure(block.scaling),
        "qkv_bias": int(query.bias is not None), "o_bias": int(block.o_proj.bias is not None),
        "mlp_bias": int(mlp.down_proj.bias is not None),
        "attention_cap": figure(getattr(text, "attn_logit_softcapping", None) or 0),
        "logit_cap": figure(getattr(text, "final_logit_softcapping", None) or 0),
        "embedding_scale": figure(getattr(text, "embedding_multiplier", getattr(body.embed_tokens, "scalar_embed_scale", 1))),
        "residual_scale": figure(getattr(text, "residual_multiplier", 1)),
        "logit_divisor": figure(getattr(text, "logits_scaling", 1)),
        "norm_eps": figure(getattr(norm, "variance_epsilon", getattr(norm, "eps", None))),
        "parameters": parameters_of(model, tied),
    }


def row_of(name, word, found):
    return [name, "refused" if word else "read", word or "-", *(str(found.get(column, "-")) for column in GEOMETRY)]


def write_table(name, first_column, rows):
    out = golden.ROOT / "tests" / "model" / name
    lines = [[first_column, "outcome", "word", *GEOMETRY], *rows]
    out.write_text("".join("\t".join(line) + "\n" for line in lines))
    print(f"{out}: {len(rows)} rows, {sum(row[1] == 'read' for row in rows)} read")


def start():
    """Stops where another transformers than the pinned one would answer."""
    pinned = dict(golden.PACKAGES)["transformers"]
    if transformers.__version__ != pinned:
        raise SystemExit(f"transformers {pinned} is pinned in requirements.txt; found {transformers.__version__}")
    transformers.utils.logging.set_verbosity_error()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("folder", type=Path)
    folder = arguments.parse_args().folder
    start()
    rows = []
    for path in sorted(folder.rglob("config.json")):
        config = json.loads(path.read_text())
        word = refusal(config)
        found = {} if word else geometry(path.parent, config)
        if not word:
            check(path, text_of(config), found["family"])
        rows.append(row_of(path.relative_to(folder).as_posix(), word, found))
    write_table("published_configs.tsv", "path", rows)


if __name__ == "__main__":
    main()
