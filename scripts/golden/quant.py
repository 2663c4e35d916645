# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""tests/golden/quant: one quantised matrix of each format, and what a library makes of it.

    python -m pip install -r scripts/golden/requirements-quant.txt    # beside requirements.txt
    python scripts/golden/quant.py

`layers.safetensors` holds the tensors of a layer as a checkpoint has them, each name behind that of its case
("bnb-nf4-nested:P.weight.absmax"); `layers.json` the `quantization_config`, the dtype and shape of the values,
their SHA-256 and their first row. `nf4.safetensors` is a larger matrix as bitsandbytes quantises it, `float8.safetensors`
one as compressed-tensors does with a scale a row; their values follow from a formula (`formula`, and in tests/quant), so that
they need not be kept.
"""

import hashlib

import golden  # first: it sets the environment of transformers
import bitsandbytes.functional as bnb
import numpy as np
import torch
from compressed_tensors.compressors import FloatQuantizationCompressor, IntQuantizationCompressor, PackedQuantizationCompressor
from compressed_tensors.entrypoints.convert.converters.autoawq import AutoAWQConverter
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.utils import calculate_qparams
from gptqmodel.nn_modules.qlinear.torch import TorchLinear
from transformers.integrations.finegrained_fp8 import Fp8Dequantize

SEED = 20261
LAYER = "P"
AWQ_ORDER = [0, 4, 1, 5, 2, 6, 3, 7]
MATRIX = (130, 128)  # 260 blocks of 64: two blocks of absolute maxima
ROWS = (24, 72)


def formula(shape):
    """The matrix of nf4.safetensors in bf16: uniform in (-0.5, 0.5) by Knuth's hash, times a factor of the row; block 3 is zero."""
    i = np.arange(shape[0] * shape[1], dtype=np.uint64)
    hashed = (i * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)
    unit = (hashed >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-24) - np.float32(0.5)
    rows = (i // np.uint64(shape[1]) % np.uint64(7) + np.uint64(1)).astype(np.float32)
    values = torch.from_numpy(unit * rows * np.float32(0.0625))
    values[3 * 64:4 * 64] = 0
    return values.to(torch.bfloat16).reshape(shape)


def bnb4(weight, kind, nested, storage=torch.uint8, blocksize=64):
    codes, state = bnb.quantize_4bit(weight, quant_type=kind, compress_statistics=nested, quant_storage=storage, blocksize=blocksize)
    tensors = {"weight": codes, **{f"weight.{k}": v for k, v in state.as_dict(packed=True).items()}}
    return tensors, bnb.dequantize_4bit(codes, state)


def bnb8(weight):
    codes, stats, _ = bnb.int8_vectorwise_quant(weight.half())
    tensors = {"weight": codes, "SCB": stats, "weight_format": torch.tensor(0, dtype=torch.uint8)}
    return tensors, bnb.int8_vectorwise_dequant(codes, stats).to(torch.bfloat16)


def fp8(weight, block, exponents=False):
    """DeepSeek's layout, held to transformers' dequantiser."""
    rows, columns = weight.shape
    height, width = block or (rows, columns)
    tiles = weight.float().reshape(rows // height, height, columns // width, width)
    scale = tiles.abs().amax(dim=(1, 3)) / 448
    if exponents:
        scale = torch.exp2(torch.ceil(torch.log2(scale)))
    codes = (tiles / scale[:, None, :, None]).reshape(rows, columns).to(torch.float8_e4m3fn)
    values = Fp8Dequantize(None)._dequantize_one(codes, scale).to(torch.bfloat16)
    stored = (torch.log2(scale) + 127).to(torch.uint8) if exponents else scale if block else scale.reshape(())
    tensors = {"weight": codes, "weight_scale_inv": stored}
    if not block:
        tensors["activation_scale"] = torch.tensor(0.5, dtype=torch.bfloat16)
    return tensors, values


def mistral(weight):
    """The same under the names of Mistral's own files, which vLLM renames to `weight_scale` and `input_scale`."""
    tensors, values = fp8(weight, None)
    return {"weight": tensors["weight"], "qscale_weight": tensors["weight_scale_inv"], "qscale_act": tensors["activation_scale"]}, values


def compressed(weight, compressor, zero_point=None, **args):
    """A scale that covers the weight's range, then what the library writes and reads."""
    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**args))
    rows, columns = weight.shape
    strategy = args["strategy"]
    largest = 448 if args["type"] == "float" else 2 ** (args["num_bits"] - 1) - 0.5
    if strategy == "block":
        height, width = args["block_structure"]
        peak = weight.abs().reshape(rows // height, height, columns // width, width).amax(dim=(1, 3))
    else:
        width = {"tensor": None, "channel": columns, "group": args.get("group_size")}[strategy]
        peak = weight.abs().max().reshape(1) if width is None else weight.abs().reshape(rows, columns // width, width).amax(2)
    state = {"weight": weight, "weight_scale": (peak.float() / largest).to(weight.dtype)}
    if zero_point is not None:
        state["weight_zero_point"] = zero_point.expand_as(state["weight_scale"]).contiguous()
    tensors = compressor.compress(state, scheme)
    return tensors, compressor.decompress(dict(tensors), scheme)["weight"]


def float8_rows(weight):
    """The library's scales in the weight's type, its codes of the weight over them and what these mean. It divides in the type
    it is given, so that 16 bits round twice; given fp32 it rounds once, to the code."""
    args = QuantizationArgs(num_bits=8, type="float", strategy="channel", symmetric=True)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    scale, _ = calculate_qparams(weight.amin(dim=1, keepdim=True), weight.amax(dim=1, keepdim=True), args)
    codes = FloatQuantizationCompressor.compress({"weight": weight.float(), "weight_scale": scale.float()}, scheme)["weight"]
    stored = {"weight": codes, "weight_scale": scale}
    return stored, FloatQuantizationCompressor.decompress(dict(stored), scheme)["weight"]


def bits_to_words(codes, bits):
    """Codes along dimension 0 as a stream of bits in int32 words, low bits first: the layout of GPTQ."""
    stream = ((codes.numpy().astype(np.uint64)[:, None, :] >> np.arange(bits, dtype=np.uint64)[None, :, None]) & 1)
    stream = stream.reshape(-1, 32, codes.shape[1])
    words = (stream << np.arange(32, dtype=np.uint64)[None, :, None]).sum(axis=1).astype(np.uint32)
    return torch.from_numpy(words.view(np.int32))


def gptq(shape, bits, group, version, desc_act):
    rows, columns = shape
    groups = columns // group
    codes = torch.randint(0, 2**bits, (columns, rows))
    zeros = torch.randint(1, 2**bits, (groups, rows))
    scales = (torch.rand(groups, rows) * 0.01 + 0.001).half()
    g_idx = torch.arange(columns, dtype=torch.int32) // group
    if desc_act:
        g_idx = g_idx[torch.randperm(columns)]
    pack_zeros = lambda z: bits_to_words(z.T.contiguous(), bits).T.contiguous()
    tensors = {"qweight": bits_to_words(codes, bits), "scales": scales, "g_idx": g_idx,
               "qzeros": pack_zeros(zeros if version == 2 else zeros - 1)}
    layer = TorchLinear(bits=bits, group_size=group, sym=False, desc_act=desc_act, in_features=columns, out_features=rows)
    layer.qweight, layer.scales, layer.g_idx, layer.qzeros = tensors["qweight"], scales, g_idx, pack_zeros(zeros)
    layer.post_init()
    return tensors, layer.dequantize_weight().T.contiguous()


def awq(shape, group):
    rows, columns = shape
    def pack(codes):  # [.., rows] -> [.., rows / 8]
        parts = codes.reshape(codes.shape[0], -1, 8).numpy().astype(np.uint64)
        words = sum(parts[:, :, i] << np.uint64(4 * AWQ_ORDER[i]) for i in range(8))
        return torch.from_numpy(words.astype(np.uint32).view(np.int32))
    tensors = {"qweight": pack(torch.randint(0, 16, (columns, rows))), "qzeros": pack(torch.randint(0, 16, (columns // group, rows))),
               "scales": (torch.rand(columns // group, rows) * 0.01 + 0.001).half()}
    converted = AutoAWQConverter(group_size=group).process({f"m.{k}": v for k, v in tensors.items()})
    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(
        num_bits=4, type="int", strategy="group", group_size=group, symmetric=False))
    return tensors, PackedQuantizationCompressor.decompress({k.removeprefix("m."): v for k, v in converted.items()}, scheme)["weight"]


def main():
    folder = golden.start("quant", SEED, golden.read_pins("requirements-quant.txt"))
    normal = lambda *shape: torch.randn(*shape) * 0.02
    bf16 = lambda *shape: normal(*shape).bfloat16()
    bnb_config = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    fp8_config = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [32, 32]}
    ct = lambda form, **weights: {"quant_method": "compressed-tensors", "format": form,
                                  "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}
    floats = lambda **args: dict(num_bits=8, type="float", symmetric=True, **args)
    ints = lambda bits, **args: dict(num_bits=bits, type="int", **args)
    gptq_config = lambda bits, **more: {"quant_method": "gptq", "bits": bits, "group_size": 32, "sym": False, **more}
    cases = {}

    def add(name, config, made):
        cases[name] = (config, *made)

    add("bnb-nf4-nested", bnb_config, bnb4(bf16(72, 64), "nf4", True))
    add("bnb-nf4-ragged", bnb_config, bnb4(normal(24, 60).half(), "nf4", False))
    add("bnb-nf4-storage", bnb_config, bnb4(bf16(48, 64), "nf4", True, storage=torch.bfloat16))
    # Rows no shorter than a block: bitsandbytes 0.50.2 takes the factor of a wrong block on a CPU otherwise.
    add("bnb-nf4-fp32", bnb_config, bnb4(normal(24, 128), "nf4", False, storage=torch.float32, blocksize=128))
    add("bnb-fp4", bnb_config, bnb4(bf16(48, 64), "fp4", True))
    add("bnb-int8", {"quant_method": "bitsandbytes", "load_in_8bit": True}, bnb8(bf16(40, 64)))
    add("fp8-block", fp8_config, fp8(bf16(64, 96), (32, 32)))
    add("fp8-exponents", dict(fp8_config, scale_fmt="ue8m0"), fp8(bf16(64, 32), (32, 32), exponents=True))
    add("fp8-tensor", {"quant_method": "fp8", "activation_scheme": "static", "weight_block_size": None}, fp8(bf16(48, 64), None))
    for name, args in {"channel": floats(strategy="channel"), "tensor": floats(strategy="tensor"),
                       "block": floats(strategy="block", block_structure=[16, 32])}.items():
        add(f"ct-float-{name}", ct("float-quantized", **args), compressed(bf16(48, 64), FloatQuantizationCompressor, **args))
    args = ints(8, strategy="channel", symmetric=True)
    add("ct-int8", ct("int-quantized", **args), compressed(bf16(48, 64), IntQuantizationCompressor, **args))
    args = ints(4, strategy="group", group_size=32, symmetric=True)
    add("ct-pack-w4", ct("pack-quantized", **args), compressed(bf16(48, 64), PackedQuantizationCompressor, **args))
    args = ints(4, strategy="group", group_size=32, symmetric=False)
    add("ct-pack-w4-zeros", ct("pack-quantized", **args),
        compressed(bf16(44, 64), PackedQuantizationCompressor, zero_point=torch.tensor([[3, -2]], dtype=torch.int8), **args))
    args = ints(8, strategy="channel", symmetric=True)
    add("ct-pack-w8", ct("pack-quantized", **args), compressed(bf16(24, 61), PackedQuantizationCompressor, **args))
    args = ints(3, strategy="group", group_size=32, symmetric=True)
    add("ct-pack-w3", ct("pack-quantized", **args), compressed(bf16(24, 64), PackedQuantizationCompressor, **args))
    add("gptq-v1", gptq_config(4, desc_act=True), gptq((48, 64), 4, 32, 1, True))
    add("gptq-v2", gptq_config(4, desc_act=False, checkpoint_format="gptq_v2"), gptq((48, 64), 4, 32, 2, False))
    add("gptq-8bit", gptq_config(8, desc_act=False), gptq((32, 64), 8, 32, 1, False))
    add("gptq-3bit", gptq_config(3, desc_act=False), gptq((32, 64), 3, 32, 1, False))
    add("gptq-2bit", gptq_config(2, desc_act=False), gptq((32, 64), 2, 32, 1, False))
    add("awq", {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm", "zero_point": True}, awq((48, 64), 32))
    add("fp8-mistral", {"quant_method": "fp8", "activation_scheme": "static", "weight_block_size": None}, mistral(bf16(32, 48)))

    tensors, notes = {}, {}
    for name, (config, parts, values) in cases.items():
        tensors |= {f"{name}:{LAYER}.{key}": value for key, value in parts.items()}
        notes[name] = {"quantization_config": config, "dtype": str(values.dtype).removeprefix("torch."), "shape": list(values.shape),
                       "sha256": hashlib.sha256(values.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest(),
                       "first_row": values[0].float().tolist()}
    golden.write_tensors(folder / "layers.safetensors", tensors)
    golden.write_json(folder / "layers.json", notes)

    parts, values = bnb4(formula(MATRIX), "nf4", True)
    del parts["weight.nested_quant_map"], parts["weight.quant_map"]  # constants, in layers.safetensors too
    golden.write_tensors(folder / "nf4.safetensors", {f"P.{key}": value for key, value in parts.items()})
    rows, row_values = float8_rows(formula(ROWS))
    golden.write_tensors(folder / "float8.safetensors", {f"P.{key}": value for key, value in rows.items()})
    digest = lambda tensor: hashlib.sha256(tensor.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()
    golden.write_manifest(folder, "quant.py", SEED, golden.read_pins("requirements-quant.txt"), nf4_values=digest(values),
                          float8_values=digest(row_values))


if __name__ == "__main__":
    main()
