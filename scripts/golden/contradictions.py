# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""Writes tests/eval/contradictions.json: small model directories in which two files, or two keys, say different things, and what
transformers and PEFT make of each. The test writes the same directories; weights follow a formula, so none is stored."""

import copy
import importlib.metadata
import json
import logging
import tempfile
import warnings
from pathlib import Path

from golden import PACKAGES, ROOT, write_json  # before torch: its settings

import peft
import torch
import transformers
from safetensors.torch import save_file

OUT = ROOT / "tests" / "eval" / "contradictions.json"
TEXT = "he hid <s>hehe</s> <x> hi"
MESSAGES = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "he"}]
VOCAB = {letter: i for i, letter in enumerate(dict.fromkeys("abcdefghijklmnopqrstx<>/ĠH"))}
VOCAB |= {"he": len(VOCAB), "Ġh": len(VOCAB) + 1}
BOS, EOS, OTHER = (len(VOCAB) + i for i in range(3))
ROWS = 36  # of the embedding


def added(token, token_id, **marks):
    return {"id": token_id, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": True, **marks}


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
TOKENIZER = {"version": "1.0", "truncation": None, "padding": None,
             "added_tokens": [added("<s>", BOS), added("</s>", EOS), added("<x>", OTHER)],
             "normalizer": None, "pre_tokenizer": BYTE_LEVEL, "post_processor": None, "decoder": BYTE_LEVEL,
             "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                       "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                       "vocab": VOCAB, "merges": [["h", "e"], ["Ġ", "h"]]}}
ADDS_BOS = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [BOS], "tokens": ["<s>"]}}}
CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
          "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "vocab_size": ROWS, "max_position_embeddings": 64,
          "rms_norm_eps": 1e-6, "hidden_act": "silu", "tie_word_embeddings": False, "bos_token_id": BOS, "eos_token_id": EOS,
          "rope_parameters": {"rope_type": "default", "rope_theta": 100.0}, "dtype": "float32"}
BASE = {"tokenizer.json": TOKENIZER,
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"},
        "config.json": CONFIG}
ADAPTER = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "o_proj"],
           "base_model_name_or_path": "", "bias": "none", "inference_mode": True}
ATTENTION = "model.layers.0.self_attn."


def block(layer):
    at = f"model.layers.{layer}."
    return {at + "input_layernorm.weight": [16], at + "post_attention_layernorm.weight": [16],
            at + "self_attn.q_proj.weight": [16, 16], at + "self_attn.k_proj.weight": [8, 16], at + "self_attn.v_proj.weight": [8, 16],
            at + "self_attn.o_proj.weight": [16, 16], at + "mlp.gate_proj.weight": [24, 16], at + "mlp.up_proj.weight": [24, 16],
            at + "mlp.down_proj.weight": [16, 24]}


SHAPES = {"model.embed_tokens.weight": [ROWS, 16], **block(0), "model.norm.weight": [16], "lm_head.weight": [ROWS, 16]}
FACTORS = {f"base_model.model.{ATTENTION}{name}.lora_{factor}.weight": shape
           for name in ("q_proj", "o_proj") for factor, shape in (("A", [2, 16]), ("B", [16, 2]))}


def without(shapes, *names):
    return {name: shape for name, shape in shapes.items() if name not in names}


def values(name, shape, seed):
    """Exact in fp32, and the same in the test: the elements of a row-major tensor."""
    count = torch.Size(shape).numel()
    index = torch.arange(count, dtype=torch.int64)
    whole = (index * 7919 + seed * 104729 + sum(name.encode()) * 31) % 257 - 128
    value = whole.to(torch.float32) / 256
    return (1 + value if len(shape) == 1 else value).reshape(shape)


def write(folder, files, weights):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    for name, (seed, shapes) in weights.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {key: values(key, shape, seed) for key, shape in shapes.items()}
        if name.endswith(".bin"):
            torch.save(tensors, path)
        else:
            save_file(tensors, path, metadata={"format": "pt"})


def measure(folder, what):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    if what == "ids":
        return tokenizer(TEXT)["input_ids"]
    if what == "bos":
        return tokenizer.bos_token_id
    if what == "rendering":
        return tokenizer.apply_chat_template(MESSAGES, tokenize=False)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if what == "ends":
        ends = model.generation_config.eos_token_id
        return ends if isinstance(ends, list) else [ends]
    if (folder / "adapter").exists():
        model = peft.PeftModel.from_pretrained(model, folder / "adapter")
    ids = torch.arange(0, 20).reshape(1, -1)
    with torch.no_grad():
        return model(ids, labels=ids).loss.item()


CASES = []


def case(first, second, what, outcome="same", words=(), weights=None, adapter=None, **files):
    """`files`: changes, with "__" for "." in their names. outcome "same": as transformers; "refused", "noted": with `words`."""
    tree = copy.deepcopy(BASE)
    changed = {name.replace("__", "."): content for name, content in files.items()}
    for name, content in changed.items():
        if isinstance(content, dict) and isinstance(tree.get(name), dict):
            tree[name].update(content)
        else:
            tree[name] = content
    if weights is None:
        weights = {"model.safetensors": (1, SHAPES)}
    if adapter is not None:
        changes, tensors = adapter
        tree["adapter/adapter_config.json"] = {**ADAPTER, **changes}
        weights = {**weights, **({"adapter/adapter_model.safetensors": (3, FACTORS)} | tensors)}
    value = None
    if outcome == "same":
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), tree, weights)
            value = measure(Path(folder), what)
    CASES.append({"first": first, "second": second, "measure": what, "outcome": outcome, "words": list(words), "value": value,
                  "files": {name: content for name, content in tree.items() if BASE.get(name) != content},
                  "weights": [{"file": name, "seed": seed, "tensors": shapes} for name, (seed, shapes) in weights.items()]})


def template(word):
    return word + " {% for m in messages %}{{ m.content }}</s>{% endfor %}"


def tokenizer_cases():
    decoder = {str(token["id"]): {k: v for k, v in token.items() if k != "id"} for token in TOKENIZER["added_tokens"]}
    case("special_tokens_map.json", "tokenizer_config.json: bos_token", "bos", special_tokens_map__json={"bos_token": "<x>"})
    case("special_tokens_map.json", "tokenizer_config.json with added_tokens_decoder", "bos",
         special_tokens_map__json={"bos_token": "<x>"}, tokenizer_config__json={"added_tokens_decoder": decoder})
    case("tokenizer_config.json: add_bos_token", "tokenizer.json without post_processor", "ids",
         tokenizer_config__json={"add_bos_token": True})
    case("tokenizer_config.json: add_bos_token false", "tokenizer.json: post_processor", "ids",
         tokenizer_config__json={"add_bos_token": False}, tokenizer__json={"post_processor": ADDS_BOS})
    case("tokenizer_config.json: bos_token", "tokenizer.json: post_processor", "ids",
         tokenizer_config__json={"bos_token": "<x>"}, tokenizer__json={"post_processor": ADDS_BOS})
    stripped = copy.deepcopy(decoder)
    stripped[str(OTHER)].update(lstrip=True, rstrip=True)
    case("tokenizer_config.json: added_tokens_decoder", "tokenizer.json: added_tokens (strips)", "ids",
         tokenizer_config__json={"added_tokens_decoder": stripped})
    moved = copy.deepcopy(decoder)
    moved[str(OTHER + 1)] = moved.pop(str(OTHER))
    case("tokenizer_config.json: added_tokens_decoder", "tokenizer.json: added_tokens (ids)", "ids", "refused",
         ["tokenizer_config.json", "tokenizer.json", "'<x>'"], tokenizer_config__json={"added_tokens_decoder": moved})
    case("added_tokens.json", "tokenizer.json: added_tokens (ids)", "ids", "refused", ["added_tokens.json", "tokenizer.json", "'<x>'"],
         added_tokens__json={"<x>": OTHER + 1})
    case("added_tokens.json", "tokenizer.json without the token", "ids", added_tokens__json={"hid": OTHER + 1})
    case("extra_special_tokens", "additional_special_tokens", "ids",
         tokenizer_config__json={"extra_special_tokens": ["hid"], "additional_special_tokens": ["hi"]})
    own = {"model_specific_special_tokens": {"x_token": "hid"}}
    case("model_specific_special_tokens", "no other file", "ids", tokenizer_config__json=own)
    case("model_specific_special_tokens", "tokenizer_config.json: y_token", "ids", tokenizer_config__json={**own, "y_token": "hi"})
    case("model_specific_special_tokens", "tokenizer_config.json: x_token as an object", "ids",
         tokenizer_config__json={**own, "x_token": {"__type": "AddedToken", **added("hi", 0)}})
    case("model_specific_special_tokens", "extra_special_tokens as an object", "ids",
         tokenizer_config__json={**own, "extra_special_tokens": {"y_token": "hi"}})
    case("model_specific_special_tokens", "special_tokens_map.json: x_token", "ids",
         special_tokens_map__json={"x_token": "hi"}, tokenizer_config__json=own)
    case("special_tokens_map.json: additional_special_tokens", "tokenizer_config.json: additional_special_tokens", "ids",
         special_tokens_map__json={"additional_special_tokens": ["hid"]}, tokenizer_config__json={"additional_special_tokens": ["hi"]})
    case("vocab.json and merges.txt", "tokenizer.json", "ids", vocab__json={"h": 0, "e": 1}, merges__txt="#version: 0.2\n")
    case("tokenizer.json: truncation", "no truncation asked for", "ids",
         tokenizer__json={"truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}})
    case("tokenizer.json: padding", "no padding asked for", "ids",
         tokenizer__json={"padding": {"strategy": {"Fixed": 40}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                                      "pad_type_id": 0, "pad_token": "<x>"}})
    case("tokenizer_config.json: model_max_length", "longer texts", "ids", tokenizer_config__json={"model_max_length": 3})
    case("config.json: tokenizer_class", "tokenizer_config.json: tokenizer_class", "ids", config__json={"tokenizer_class": "GemmaTokenizer"})
    case("tokenizer_config.json: do_lower_case", "tokenizer.json: normalizer", "ids", tokenizer_config__json={"do_lower_case": True})
    case("tokenizer_config.json: add_prefix_space", "tokenizer.json: pre_tokenizer", "ids", tokenizer_config__json={"add_prefix_space": True})
    # These classes build normalizer and pre-tokenizer anew; the file's are kept, and that is said.
    for name, change in {"GPT2Tokenizer": {"pre_tokenizer": {**BYTE_LEVEL, "add_prefix_space": True}},
                         "GPT2TokenizerFast": {"normalizer": {"type": "Lowercase"}},
                         "Qwen2Tokenizer": {"pre_tokenizer": BYTE_LEVEL},
                         "LlamaTokenizerFast": {"pre_tokenizer": BYTE_LEVEL}}.items():
        case(f"tokenizer_config.json: tokenizer_class {name}", f"tokenizer.json: {next(iter(change))}", "ids", "noted",
             [name.removesuffix("Fast"), "tokenizer.json"], tokenizer_config__json={"tokenizer_class": name}, tokenizer__json=change)
    case("tokenizer_config.json: tokenizer_class GPT2Tokenizer, add_prefix_space", "tokenizer.json: pre_tokenizer", "ids", "noted",
         ["GPT2Tokenizer", "tokenizer.json"], tokenizer_config__json={"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True})
    case("tokenizer_config.json: tokenizer_class GPT2Tokenizer", "tokenizer.json: the class's own pipeline", "ids",
         tokenizer_config__json={"tokenizer_class": "GPT2Tokenizer"})
    case("tokenizer_config.json: split_special_tokens", "special tokens of tokenizer.json", "ids", "refused",
         ["split_special_tokens", "tokenizer_config.json"], tokenizer_config__json={"split_special_tokens": True})
    case("generation_config.json: eos_token_id", "config.json: eos_token_id", "ends", generation_config__json={"eos_token_id": [EOS, 3]},
         config__json={"eos_token_id": 5})
    case("chat_template.jinja", "tokenizer_config.json: chat_template", "rendering", chat_template__jinja=template("he"),
         tokenizer_config__json={"chat_template": template("hi")})
    case("chat_template.json", "tokenizer_config.json: chat_template", "rendering", chat_template__json={"chat_template": template("he")},
         tokenizer_config__json={"chat_template": template("hi")})
    case("additional_chat_templates/default.jinja", "chat_template.jinja", "rendering", chat_template__jinja=template("he"),
         **{"additional_chat_templates/default__jinja": template("hid")})
    case("chat_template.jinja", "tokenizer_config.json: a list of templates", "rendering", chat_template__jinja=template("he"),
         tokenizer_config__json={"chat_template": [{"name": "default", "template": template("hi")}]})


def weight_cases():
    whole = {"model.safetensors": (1, SHAPES)}
    index = {"metadata": {}, "weight_map": {name: "model-00001-of-00001.safetensors" for name in SHAPES}}
    case("model.safetensors", "a stale index and its shard", "loss", weights={**whole, "model-00001-of-00001.safetensors": (2, SHAPES)},
         model__safetensors__index__json=index)
    case("model.safetensors", "an index whose shard is gone", "loss", model__safetensors__index__json=index)
    case("model.safetensors", "pytorch_model.bin", "loss", weights={**whole, "pytorch_model.bin": (2, SHAPES)})
    for other in ("consolidated.safetensors", "model.fp16.safetensors"):
        case("model.safetensors", other, "loss", weights={**whole, other: (2, SHAPES)})
    half = dict(list(SHAPES.items())[:6])
    case("two shards", "one tensor in both", "loss", "refused", ["'model.embed_tokens.weight'", "two shards"],
         weights={"model-00001-of-00002.safetensors": (1, half), "model-00002-of-00002.safetensors": (2, SHAPES)},
         model__safetensors__index__json={"metadata": {}, "weight_map": {
             name: f"model-0000{1 if name in half else 2}-of-00002.safetensors" for name in SHAPES}})
    case("config.json: tie_word_embeddings", "another lm_head.weight", "loss", config__json={"tie_word_embeddings": True})
    case("config.json: tie_word_embeddings", "no lm_head.weight", "loss", config__json={"tie_word_embeddings": True},
         weights={"model.safetensors": (1, without(SHAPES, "lm_head.weight"))})
    case("config.json: tie_word_embeddings false", "no lm_head.weight", "loss", "refused", ["config.json", "'lm_head.weight'"],
         weights={"model.safetensors": (1, without(SHAPES, "lm_head.weight"))})
    for key, value in {"num_key_value_heads": 2, "head_dim": 4, "num_attention_heads": 4, "intermediate_size": 16, "vocab_size": 40}.items():
        case(f"config.json: {key}", "shapes of the weights", "loss", "refused", ["config.json", "of another shape"], config__json={key: value})
    case("config.json: num_hidden_layers", "fewer blocks in the files", "loss", "refused", ["config.json", "9 missing"],
         config__json={"num_hidden_layers": 2})
    case("config.json: num_hidden_layers", "more blocks in the files", "loss", "refused", ["num_hidden_layers 1", "9 surplus"],
         weights={"model.safetensors": (1, {**SHAPES, **block(1)})})
    case("config.json: attention_bias", "no biases in the files", "loss", "refused", ["config.json", "q_proj.bias"],
         config__json={"attention_bias": True})
    case("config.json: attention_bias false", "a bias in the files", "loss", "refused", ["config.json", "q_proj.bias"],
         weights={"model.safetensors": (1, {**SHAPES, ATTENTION + "q_proj.bias": [16]})})
    case("config.json: quantization_config", "weights that are not quantised", "loss", "refused", ["quantization_config", "bitsandbytes"],
         config__json={"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}})
    case("config.json: dtype", "config.json: torch_dtype", "loss", config__json={"torch_dtype": "bfloat16", "dtype": "float16"})
    case("config.json: architectures", "config.json: model_type", "loss", config__json={"architectures": ["Qwen2ForCausalLM"]})
    case("config.json: hidden_activation", "config.json: hidden_act", "loss", "refused", ["hidden_activation"],
         config__json={"hidden_activation": "gelu"})
    case("config.json: rope_theta", "rope_parameters.rope_theta", "loss", config__json={"rope_theta": 50.0})
    case("config.json: rope_scaling", "rope_parameters", "loss",
         config__json={"rope_theta": 50.0, "rope_scaling": {"rope_type": "linear", "factor": 4.0}})
    case("rope_parameters.type", "rope_parameters.rope_type", "loss",
         config__json={"rope_parameters": {"type": "linear", "rope_type": "default", "rope_theta": 50.0, "factor": 4.0}})
    llama3 = {"rope_type": "llama3", "rope_theta": 50.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 8}
    case("config.json: original_max_position_embeddings", "rope_parameters.original_max_position_embeddings", "loss",
         config__json={"original_max_position_embeddings": 16, "rope_parameters": llama3})
    case("an adapter in the model's directory", "its weights", "loss", "noted", ["adapter_config.json", "transformers"],
         weights={**whole, "adapter_model.safetensors": (3, FACTORS)}, adapter_config__json=ADAPTER)


def adapter_cases():
    first = f"base_model.model.{ATTENTION}q_proj."
    case("adapter_model.safetensors", "adapter_model.bin", "loss", adapter=({}, {"adapter/adapter_model.bin": (4, FACTORS)}))
    case("adapter_config.json: alpha_pattern", "lora_alpha", "loss", adapter=({"alpha_pattern": {"q_proj": 1}}, {}))
    case("adapter_config.json: use_rslora", "lora_alpha", "loss", adapter=({"use_rslora": True}, {}))
    case("adapter_config.json: fan_in_fan_out", "linear layers", "loss", adapter=({"fan_in_fan_out": True}, {}))
    case("adapter_config.json: r", "shapes of the factors", "loss", "refused", ["adapter_config.json", "r or rank_pattern"], adapter=({"r": 4}, {}))
    case("adapter_config.json: rank_pattern", "shapes of the factors", "loss", "refused", ["adapter_config.json", "r or rank_pattern"],
         adapter=({"rank_pattern": {"q_proj": 1}}, {}))
    for key, value in {"target_modules": ["q_proj"], "exclude_modules": ["o_proj"], "layers_to_transform": [1]}.items():
        case(f"adapter_config.json: {key}", "factors of other layers", "loss", "refused", ["target_modules", "PEFT would drop them"],
             adapter=({key: value}, {}))
    case("adapter_config.json: target_modules", "no factors for a layer", "loss", "noted", ["adapter_config.json", "k_proj"],
         adapter=({"target_modules": ["q_proj", "o_proj", "k_proj"]}, {}))
    case("adapter_config.json: use_dora", "no magnitude", "loss", "refused", ["use_dora", "lora_magnitude_vector"], adapter=({"use_dora": True}, {}))
    case("adapter_config.json: use_dora false", "a magnitude", "loss", "refused", ["use_dora", "lora_magnitude_vector"],
         adapter=({}, {"adapter/adapter_model.safetensors": (3, {**FACTORS, first + "lora_magnitude_vector": [16]})}))
    case("adapter_config.json: bias none", "a bias of the base", "loss", "refused", ["base_layer.bias"],
         adapter=({}, {"adapter/adapter_model.safetensors": (3, {**FACTORS, first + "base_layer.bias": [16]})}))
    case("adapter_config.json: modules_to_save", "no such weights", "loss", "refused", ["modules_to_save"],
         adapter=({"modules_to_save": ["lm_head"]}, {}))
    case("adapter_config.json: init_lora_weights", "the base as it is", "loss", "refused", ["init_lora_weights"],
         adapter=({"init_lora_weights": "pissa"}, {}))
    case("adapter_config.json: base_model_name_or_path", "the model that is given", "loss", "noted", ["base_model_name_or_path", "org/other"],
         adapter=({"base_model_name_or_path": "org/other"}, {}))
    notes = {"version": 1, "method": "lora", "mode": "", "rank": 2, "alpha": 5.0, "train_a": True, "train_b": True,
             "subtracts_start": False, "base": {"name": "", "fingerprint": ""}, "covariances": [],
             "template": {"name": "plain", "chat_template": ""}, "layers": {}}
    case("corda.json: alpha", "adapter_config.json: lora_alpha", "loss", "refused", ["corda.json", "adapter_config.json"], adapter=({}, {}),
         **{"adapter/corda__json": notes})
    case("corda.json: base.fingerprint", "the model that is given", "loss", "refused", ["base"], adapter=({}, {}),
         **{"adapter/corda__json": {**notes, "alpha": 4.0, "base": {"name": "org/other", "fingerprint": "sha256-sampled:" + "0" * 64}}})


def main():
    pins = {name: version for name, version in PACKAGES if name in ("transformers", "tokenizers", "peft")}
    for name, version in pins.items():
        if importlib.metadata.version(name) != version:
            raise SystemExit(f"{name} {version} is pinned; found {importlib.metadata.version(name)}")
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    tokenizer_cases()
    weight_cases()
    adapter_cases()
    write_json(OUT, {"command": "python scripts/golden/contradictions.py", "versions": pins, "text": TEXT, "messages": MESSAGES,
                     "base": BASE, "cases": CASES})
    print(f"{len(CASES)} contradictions")


if __name__ == "__main__":
    main()
