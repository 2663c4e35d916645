#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes model.safetensors with seeded random weights for a Llama config.json: a start for `method: full`."""
import argparse
import array
import json
import math
import pathlib
import random
import struct
import sys


def tensor_shapes(config):
    """Name -> shape of every tensor, in the order of the file."""
    hidden, ffn, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    head_dim = config.get("head_dim") or hidden // heads
    kv = config.get("num_key_value_heads", heads) * head_dim
    shapes = {"model.embed_tokens.weight": [config["vocab_size"], hidden]}
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        shapes |= {layer + "input_layernorm.weight": [hidden], layer + "self_attn.q_proj.weight": [heads * head_dim, hidden],
                   layer + "self_attn.k_proj.weight": [kv, hidden], layer + "self_attn.v_proj.weight": [kv, hidden],
                   layer + "self_attn.o_proj.weight": [hidden, heads * head_dim],
                   layer + "post_attention_layernorm.weight": [hidden], layer + "mlp.gate_proj.weight": [ffn, hidden],
                   layer + "mlp.up_proj.weight": [ffn, hidden], layer + "mlp.down_proj.weight": [hidden, ffn]}
    shapes["model.norm.weight"] = [hidden]
    if not config.get("tie_word_embeddings", False):
        shapes["lm_head.weight"] = [config["vocab_size"], hidden]
    return shapes


def normal(generator, count, deviation):
    """Box and Muller, from random.random() alone: that sequence is promised to stay the same."""
    values = array.array("f")
    while len(values) < count:
        radius = deviation * math.sqrt(-2 * math.log(1 - generator.random()))
        angle = 2 * math.pi * generator.random()
        values.append(radius * math.cos(angle))
        values.append(radius * math.sin(angle))
    return values[:count]


def to_bf16(values):
    """Little-endian bfloat16, rounded to nearest, ties to even."""
    bits = array.array("I")
    bits.frombytes(values.tobytes())
    out = array.array("H", ((b + 0x7FFF + (b >> 16 & 1)) >> 16 for b in bits))
    if sys.byteorder == "big":
        out.byteswap()
    return out.tobytes()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=pathlib.Path, help="model directory with config.json")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    config = json.loads((args.directory / "config.json").read_text(encoding="utf-8"))
    deviation = config.get("initializer_range", 0.02)
    generator = random.Random(args.seed)
    header, body = {"__metadata__": {"format": "pt"}}, bytearray()
    for name, shape in tensor_shapes(config).items():
        count = math.prod(shape)
        values = array.array("f", [1.0]) * count if len(shape) == 1 else normal(generator, count, deviation)
        data = to_bf16(values)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(args.directory / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + body)
    print(f"{args.directory / 'model.safetensors'}: {len(body) // 2} parameters, {len(body)} bytes")


if __name__ == "__main__":
    main()
