#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""Rounding to the nearest against rounding that knows the inputs, on a real model: nf4 and fp8 by `corda quantize`,
bf16 by `corda merge`. One JSON object a row on stdout.

    scripts/experiments/rounding.py --corda build/cpu/bin/corda --calibration TEXT --held-out TEXT --work DIR MODEL

`calibration` and `held-out` are texts that corda reads; the perplexity is that of the second. An `--adapter` that was
trained for a few steps shows most: its updates are small against the weights, which is what makes rounding matter.
"""

import argparse
import json
import subprocess
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corda", type=Path, required=True)
    parser.add_argument("--calibration", type=Path, required=True)
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, help="is merged into the model; without it there is no row of bf16")
    parser.add_argument("--samples", default="64")
    parser.add_argument("--seq-len", default="512")
    parser.add_argument("--windows", default="40")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--damping", default="0.01")
    parser.add_argument("model", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)

    def corda(verb, *arguments):
        result = subprocess.run([given.corda, verb, "--json", "--quiet", *map(str, arguments)], stdout=subprocess.PIPE, check=True)
        return json.loads(result.stdout)

    def once(directory, verb, *arguments):
        """The verb's result, kept beside its directory."""
        note = given.work / f"{directory}.json"
        if not note.exists():
            note.write_text(json.dumps(corda(verb, *arguments, "--out", given.work / directory)))
        return json.loads(note.read_text())

    def perplexity(model):
        return corda("eval", "--model", model, "--data", given.held_out, "--samples", given.windows, "--seq-len", given.seq_len,
                     "--device", given.device, "--dtype", "fp32")["perplexity"]

    name = given.model.name
    once("covariance", "calibrate", "--model", given.model, "--data", given.calibration, "--samples", given.samples,
         "--seq-len", given.seq_len, "--activation-scaling", "none", "--device", given.device)
    covariance = ["--covariance", given.work / "covariance", "--damping", given.damping]
    print(json.dumps({"model": name, "format": "as it is", "perplexity": perplexity(given.model)}), flush=True)
    for to in ("nf4", "fp8"):
        once(f"{to}-nearest", "quantize", "--model", given.model, "--to", to)
        result = once(f"{to}-informed", "quantize", "--model", given.model, "--to", to, *covariance)
        print(json.dumps({"model": name, "format": to, "output_error_nearest": result["plain_error"],
                          "output_error": result["output_error"], "ratio": result["output_error"] / result["plain_error"],
                          "seconds": result["seconds"], "perplexity_nearest": perplexity(given.work / f"{to}-nearest"),
                          "perplexity": perplexity(given.work / f"{to}-informed")}), flush=True)
    if given.adapter is None:
        return
    adapter = ["--model", given.model, "--adapter", given.adapter]
    once("merged-fp32", "merge", *adapter, "--dtype", "fp32")
    once("merged-nearest", "merge", *adapter)
    result = once("merged-informed", "merge", *adapter, *covariance)
    print(json.dumps({"model": name, "format": "bf16, merged LoRA", "output_error_nearest": result["plain_error"],
                      "output_error": result["output_error"], "ratio": result["output_error"] / result["plain_error"],
                      "seconds": result["seconds"], "perplexity_fp32": perplexity(given.work / "merged-fp32"),
                      "perplexity_nearest": perplexity(given.work / "merged-nearest"),
                      "perplexity": perplexity(given.work / "merged-informed")}), flush=True)


if __name__ == "__main__":
    main()
