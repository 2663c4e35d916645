# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""Reads a GGUF adapter with the gguf package and compares its updates with the PEFT directory's.

    python read_gguf.py FILE.gguf PEFT_DIRECTORY
"""

import json
import struct
import sys
from pathlib import Path

import gguf
import numpy as np

HEADS, KEY_HEADS, BLOCKS = 4, 2, 2  # of the tiny model


def read_safetensors(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {name: np.frombuffer(data, np.float32, offset=8 + size + info["data_offsets"][0], count=int(np.prod(info["shape"]))).reshape(info["shape"])
            for name, info in header.items()}


def original_rows(weights, heads):
    """As llama.cpp's converter of Llama models reorders the rows of q_proj and k_proj."""
    return weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)


reader = gguf.GGUFReader(sys.argv[1])
directory = Path(sys.argv[2])
fields = {name: field.contents() for name, field in reader.fields.items()}
assert fields["general.type"] == "adapter" and fields["adapter.type"] == "lora", fields
assert fields["adapter.lora.alpha"] == 0, fields
architecture = fields["general.architecture"]
names = gguf.get_tensor_name_map(next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == architecture), BLOCKS)
config = json.loads((directory / "adapter_config.json").read_text())
peft = read_safetensors(directory / "adapter_model.safetensors")
tensors = {tensor.name: tensor.data for tensor in reader.tensors}
shapes = {tensor.name: [int(n) for n in tensor.shape] for tensor in reader.tensors}
layers = [name[len("base_model.model."):-len(".lora_A.weight")] for name in peft if name.endswith(".lora_A.weight")]
assert len(tensors) == 2 * len(layers), tensors.keys()
for layer in layers:
    a, b = (peft[f"base_model.model.{layer}.lora_{x}.weight"] for x in "AB")
    name = names.get_name(layer) + ".weight"
    assert shapes[name + ".lora_a"] == [a.shape[1], a.shape[0]] and shapes[name + ".lora_b"] == [b.shape[1], b.shape[0]], shapes
    want = config["lora_alpha"] / config["r"] * b.astype(np.float64) @ a
    if layer.endswith("q_proj"):
        want = original_rows(want, HEADS)
    if layer.endswith("k_proj"):
        want = original_rows(want, KEY_HEADS)
    have = tensors[name + ".lora_b"].astype(np.float64) @ tensors[name + ".lora_a"].astype(np.float64)
    assert np.abs(have - want).max() < 2e-3 * np.abs(want).max(), (layer, np.abs(have - want).max())
print(f"{architecture}: {len(layers)} layers agree")
