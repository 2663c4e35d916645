#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""NF4 by `corda quantize --covariance` beside GPTQ written out in fp64, on the scales of plain rounding.

    scripts/experiments/gptq.py --corda build/cpu/bin/corda --data facts.jsonl --work DIR scripts/demo/model

Prints one JSON object: the error of the layers' outputs relative to their energy, a mean over all layers of the blocks, for
rounding to the nearest, corda's, and GPTQ with columns by falling energy (act-order) and as they stand. Needs torch and safetensors.
"""

import argparse
import json
import subprocess
from pathlib import Path

import torch
from safetensors.torch import load_file


def decode(tensors, name, shape):
    """A layer that bitsandbytes would read: its values, its scales and the table of its codes, in fp64."""
    part = lambda key: tensors[f"{name}.weight{key}"]
    state = json.loads(bytes(part(".quant_state.bitsandbytes__nf4").tolist()))
    outer = part(".nested_absmax").double().repeat_interleave(state["nested_blocksize"])[:part(".absmax").numel()]
    absmax = part(".nested_quant_map").double()[part(".absmax").long()] * outer + state["nested_offset"]
    scales = absmax.repeat_interleave(state["blocksize"])[:shape.numel()].reshape(shape)
    bytes_of = part("").flatten().long()
    codes = torch.stack([bytes_of >> 4, bytes_of & 15], 1).flatten()[:shape.numel()].reshape(shape)
    table = part(".quant_map").double()
    return table[codes] * scales, scales, table


def gptq(weight, hessian, scales, table, act_order):
    """Frantar et al. 2022, section 3: what rounding a column loses goes to those behind it. Damped by 0.01 of the mean diagonal."""
    inputs = weight.shape[1]
    order = hessian.diag().argsort(descending=True) if act_order else torch.arange(inputs)
    damped = hessian[order][:, order] + 0.01 * hessian.diag().mean() * torch.eye(inputs, dtype=torch.float64)
    factor = torch.linalg.cholesky(torch.linalg.inv(damped), upper=True)
    left, rounded = weight[:, order].clone(), torch.empty_like(weight)
    for i, column in enumerate(order):
        scale = scales[:, column]
        nearest = (left[:, i, None] / scale[:, None] - table).abs().argmin(1)
        rounded[:, column] = table[nearest] * scale
        left[:, i:] -= torch.outer((left[:, i] - rounded[:, column]) / factor[i, i], factor[i, i:])
    return rounded


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corda", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="what the covariance is collected on")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--samples", default="64")
    parser.add_argument("--seq-len", default="128")
    parser.add_argument("model", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)

    def corda(verb, out, *arguments):
        subprocess.run([given.corda.resolve(), verb, "--model", given.model, "--quiet", "--out", given.work / out, *arguments], check=True)
        return given.work / out

    covariance = corda("calibrate", "covariance", "--data", given.data, "--samples", given.samples, "--seq-len", given.seq_len,
                       "--storage", "full", "--device", "cpu")
    ours = load_file(corda("quantize", "informed", "--to", "nf4", "--covariance", covariance) / "model.safetensors")
    plain = load_file(corda("quantize", "nearest", "--to", "nf4") / "model.safetensors")
    weights = load_file(given.model / "model.safetensors")
    errors = {"nearest": [], "corda": [], "gptq, act-order": [], "gptq, in order": []}
    for site in json.loads((covariance / "manifest.json").read_text())["sites"].values():
        hessian = next(iter(load_file(covariance / site["file"]).values())).double()
        for module in site["modules"]:
            weight = weights[f"{module}.weight"].double()
            values, scales, table = decode(plain, module, weight.shape)
            energy = ((weight @ hessian) * weight).sum()
            for name, rounded in (("nearest", values), ("corda", decode(ours, module, weight.shape)[0]),
                                  ("gptq, act-order", gptq(weight, hessian, scales, table, True)),
                                  ("gptq, in order", gptq(weight, hessian, scales, table, False))):
                lost = weight - rounded
                errors[name].append((((lost @ hessian) * lost).sum() / energy).item())
    print(json.dumps({"model": given.model.name, "layers": len(errors["corda"])} | {k: sum(v) / len(v) for k, v in errors.items()}))


if __name__ == "__main__":
    main()
