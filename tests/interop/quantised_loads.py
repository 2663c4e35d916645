# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""Loads a quantised directory in transformers (bitsandbytes for 4 bits, compressed-tensors for float8 with a scale a row) and
compares its weights, bit for bit where a library makes them, and its logits with those of a dense copy of the same values. The last line is the relative difference of the logits; exit 77:
a package is missing."""

import argparse
import json
import sys

import torch
from transformers import AutoConfig, AutoModelForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("--quantised", required=True)
parser.add_argument("--dense", required=True)
parser.add_argument("--ids", type=json.loads, required=True)
parser.add_argument("--tolerance", type=float, required=True)
arguments = parser.parse_args()

quantisation = AutoConfig.from_pretrained(arguments.quantised).quantization_config
options = {"dtype": torch.float32}
if quantisation["quant_method"] == "bitsandbytes":
    try:
        import bitsandbytes
    except ImportError as error:
        print(error)
        sys.exit(77)
elif quantisation["quant_method"] == "compressed-tensors":
    try:
        import compressed_tensors
    except ImportError as error:
        print(error)
        sys.exit(77)
    from transformers import CompressedTensorsConfig
    options = {"dtype": torch.bfloat16, "quantization_config": CompressedTensorsConfig(dequantize=True)}  # in the scales' type
else:
    from transformers import FineGrainedFP8Config
    options["quantization_config"] = FineGrainedFP8Config(dequantize=True)  # its kernels need a GPU
model = AutoModelForCausalLM.from_pretrained(arguments.quantised, device_map="cpu", **options).eval()
dense = AutoModelForCausalLM.from_pretrained(arguments.dense, dtype=torch.float32).eval()
if quantisation["quant_method"] == "bitsandbytes":
    layers = {name: m for name, m in model.named_modules() if isinstance(m, bitsandbytes.nn.Linear4bit)}
    assert len(layers) == 7 * model.config.num_hidden_layers, len(layers)
    for name, layer in layers.items():
        values = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        assert torch.equal(values, dense.get_submodule(name).weight), name
    arguments.tolerance = max(arguments.tolerance, 5e-2)  # its product on a CPU is one of bf16
if quantisation["quant_method"] == "compressed-tensors":
    from compressed_tensors.quantization import disable_quantization
    model = model.float().apply(disable_quantization)  # of activations, which the dense copy has not
    layers = [name for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and ".layers." in name]
    assert len(layers) == 7 * model.config.num_hidden_layers, len(layers)
    for name in layers:
        assert torch.equal(model.get_submodule(name).weight, dense.get_submodule(name).weight), name
worst = 0.0
for ids in arguments.ids:
    with torch.no_grad():
        ours, theirs = (m(torch.tensor([ids])).logits.float() for m in (model, dense))
    worst = max(worst, ((ours - theirs).abs().max() / theirs.abs().max()).item())
print(worst)
sys.exit(worst > arguments.tolerance)
