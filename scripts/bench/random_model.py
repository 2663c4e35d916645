#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a model of random weights at the shape of a config.json, as fast as the disk takes it.

    scripts/bench/random_model.py --config FOLDER_OR_NAME --out FOLDER [--set num_hidden_layers=2 ...] [--tokenizer scripts/demo/model]

FOLDER_OR_NAME has a config.json, or is one of CONFIGS. Linear layers and embeddings are Gaussian with a deviation of 0.02, norms the
identity, all in bf16; a file a block. Needs torch, and nothing of transformers.
"""
import argparse
import concurrent.futures
import json
import pathlib
import shutil
import sys
import time

LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5, "tie_word_embeddings": False}
CONFIGS = {  # shapes as published; what matters to neither shape nor mathematics is left out
    "llama-2-7b": {**LLAMA, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
                   "num_key_value_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096},
    "llama-3.1-8b": {**LLAMA, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
                     "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072, "rope_theta": 500000.0,
                     "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                      "original_max_position_embeddings": 8192}},
    "qwen2.5-7b": {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
                   "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
                   "vocab_size": 152064, "max_position_embeddings": 131072, "rope_theta": 1000000.0, "use_sliding_window": False},
    "qwen3-8b": {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_act": "silu", "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
                 "attention_bias": False, "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32,
                 "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "max_position_embeddings": 40960, "rope_theta": 1000000},
    "gemma-2-9b": {"architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "hidden_act": "gelu_pytorch_tanh",
                   "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6, "attention_bias": False, "hidden_size": 3584,
                   "intermediate_size": 14336, "num_hidden_layers": 42, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 256,
                   "vocab_size": 256000, "max_position_embeddings": 8192, "rope_theta": 10000.0, "query_pre_attn_scalar": 256,
                   "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "sliding_window": 4096},
    "smollm2-135m": {**LLAMA, "tie_word_embeddings": True, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
                     "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 8192, "rope_theta": 100000},
}
TIED = {"gemma", "gemma2", "gemma3_text"}  # where config.json does not say


def parts(config):
    """Lists of (name, shape), a list a file. A shape of one number is a norm or a bias."""
    family = config["model_type"]
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    size = config.get("head_dim") or hidden // heads
    query, key = heads * size, config.get("num_key_value_heads", heads) * size
    ends = [("model.embed_tokens.weight", [config["vocab_size"], hidden]), ("model.norm.weight", [hidden])]
    if not config.get("tie_word_embeddings", family in TIED):
        ends.append(("lm_head.weight", [config["vocab_size"], hidden]))
    layers = {"q": [query, hidden], "k": [key, hidden], "v": [key, hidden], "o": [hidden, query]}
    block = [(f"self_attn.{name}_proj.weight", shape) for name, shape in layers.items()]
    norms = ["input_layernorm", "post_attention_layernorm"]
    if family == "phi3":
        block = [("self_attn.qkv_proj.weight", [query + 2 * key, hidden]), ("self_attn.o_proj.weight", [hidden, query]),
                 ("mlp.gate_up_proj.weight", [2 * inner, hidden])]
    elif family in ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"):
        block += [("mlp.gate_proj.weight", [inner, hidden]), ("mlp.up_proj.weight", [inner, hidden])]
    else:
        sys.exit(f"error: no shapes of the family '{family}'")
    block.append(("mlp.down_proj.weight", [hidden, inner]))
    if family == "qwen2":
        block += [(f"self_attn.{name}_proj.bias", layers[name][:1]) for name in "qkv"]
    if family in ("qwen3", "gemma3_text"):
        block += [(f"self_attn.{name}_norm.weight", [size]) for name in "qk"]
    if family in ("gemma2", "gemma3_text"):
        norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    block += [(f"{name}.weight", [hidden]) for name in norms]
    return [ends] + [[(f"model.layers.{i}.{name}", shape) for name, shape in block] for i in range(config["num_hidden_layers"])]


def write_file(path, tensors, family, seed):
    """A .safetensors file; its tensors are made where they are fastest made and none is held longer than it takes to write it."""
    import torch
    device = "cuda" if torch.cuda.is_available() else "cpu"
    source = torch.Generator(device).manual_seed(seed)
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        begin, end = end, end + 2 * torch.Size(shape).numel()
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in tensors:
            if len(shape) == 2:
                values = torch.empty(shape, dtype=torch.bfloat16, device=device).normal_(0, 0.02, generator=source).cpu()
            else:  # Gemma's norms multiply by 1 + w
                zero = name.endswith(".bias") or family.startswith("gemma")
                values = torch.full(shape, 0.0 if zero else 1.0, dtype=torch.bfloat16)
            file.write(values.view(torch.uint8).numpy())


def write(folder, config, tokenizer):
    """config.json, tokenizer and weights; `tokenizer` is a folder with a tokenizer.json."""
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (tokenizer / name).exists():
            shutil.copy(tokenizer / name, folder / name)
    (folder / "config.json").write_text(json.dumps({**config, "torch_dtype": "bfloat16", "bos_token_id": 0, "eos_token_id": 0}, indent=1))
    shards = parts(config)
    names = [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(write_file, folder / name, shard, config["model_type"], i) for i, (name, shard) in enumerate(zip(names, shards))]:
            done.result()
    index = {tensor: name for name, shard in zip(names, shards) for tensor, _ in shard}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def config_of(name):
    """One of CONFIGS, or what a folder has in its config.json."""
    if name in CONFIGS:
        return CONFIGS[name]
    path = pathlib.Path(name) / "config.json"
    if not path.exists():
        sys.exit(f"error: there is no {path}, and the shapes known by name are {', '.join(CONFIGS)}")
    return json.loads(path.read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=JSON", help="over the config")
    parser.add_argument("--tokenizer", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[1] / "demo" / "model")
    args = parser.parse_args()
    config = {**config_of(args.config), **{key: json.loads(value) for key, value in (pair.split("=", 1) for pair in args.set)}}
    begin = time.perf_counter()
    write(args.out, config, args.tokenizer)
    size = sum(path.stat().st_size for path in args.out.iterdir())
    print(f"{args.out}: {size / 1e9:.1f} GB in {time.perf_counter() - begin:.1f} s")


if __name__ == "__main__":
    main()
