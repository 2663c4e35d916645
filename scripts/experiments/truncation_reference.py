#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Perplexity without the smallest components, as plain as PyTorch and transformers say it in fp64; beside `corda study truncation`.

    truncation_reference.py --model FOLDER --text wikitext-2.valid.txt.gz --write-calibration calibration.txt --tokens 1024
    truncation_reference.py --model FOLDER --calibration calibration.txt --test wikitext-2.test.txt.gz --out reference.jsonl
    truncation_reference.py --compare corda.jsonl reference.jsonl

The first writes a text of exactly so many tokens: as one sample of that length it leaves no draw, so both programs see the same. corda's
settings are then `calibrations: {one: {data: calibration.txt, samples: 1, seq_len: 1024}}`, `tests: {one: {data: ..., seq_len: 512, samples: 4}}`.
"""
import argparse
import gzip
import json
import math
import pathlib
import sys


def read_text(path):
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        return file.read()


def write_calibration(args, tokenizer):
    ids = tokenizer(read_text(args.text)[: 40 * args.tokens], add_special_tokens=False, split_special_tokens=True).input_ids
    for first in range(0, len(ids) - args.tokens, 16):
        text = tokenizer.decode(ids[first:first + args.tokens])
        if tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids == ids[first:first + args.tokens]:
            args.write_calibration.write_text(text, encoding="utf-8")
            return
    sys.exit("error: no part of the text has that many tokens by itself")


def inputs_of(torch, model, ids):
    """The inputs [tokens, in] of every linear layer."""
    inputs, hooks = {}, []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            hooks.append(module.register_forward_pre_hook(lambda _, args, name=name: inputs.__setitem__(name, args[0].flatten(0, -2))))
    model(ids)
    for hook in hooks:
        hook.remove()
    return inputs


def scale_of(torch, method, x, damping, alpha):
    if method == "svd":
        return torch.eye(x.shape[1], dtype=x.dtype)
    if method == "asvd":
        return torch.diag(x.abs().mean(0) ** alpha + 1e-6)
    covariance = x.T @ x
    return covariance + damping * covariance.diagonal().mean() * torch.eye(x.shape[1], dtype=x.dtype)


def loss_of(torch, model, windows):
    total = count = 0
    for window in windows:
        logits = model(window[None]).logits[0, :-1]
        total += torch.nn.functional.cross_entropy(logits, window[1:], reduction="sum").item()
        count += len(window) - 1
    return total / count


def truncate(args):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    torch.set_grad_enabled(False)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    if args.write_calibration:
        return write_calibration(args, tokenizer)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float64, attn_implementation="eager").eval()
    encode = lambda text: torch.tensor(tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids)
    ids = encode(read_text(args.test))
    windows = [ids[i * args.seq_len:(i + 1) * args.seq_len] for i in range(args.windows)]
    inputs = inputs_of(torch, model, encode(read_text(args.calibration))[None])
    layers = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    originals = {name: module.weight.detach() for name, module in layers.items()}
    rows = [("-", 0, loss_of(torch, model, windows))]
    for method in args.methods.split(","):
        parts = {}
        for name, weight in originals.items():
            scale = scale_of(torch, method, inputs[name], args.damping, args.asvd_alpha)
            u, s, vh = torch.linalg.svd(weight @ scale, full_matrices=False)
            parts[name] = (u, s, torch.linalg.solve(scale, vh, left=False))
        for dropped in map(int, args.ranks.split(",")):
            for name, (u, s, v) in parts.items():
                kept = len(s) - dropped
                layers[name].weight = torch.nn.Parameter((u[:, :kept] * s[:kept]) @ v[:kept])
            rows.append((method, dropped, loss_of(torch, model, windows)))
            print(f"{method}, {dropped} dropped: perplexity {math.exp(rows[-1][2]):.4f}", file=sys.stderr, flush=True)
    args.out.write_text("".join(json.dumps({"method": method, "dropped": dropped, "nll": nll, "perplexity": math.exp(nll)}) + "\n"
                                for method, dropped, nll in rows), encoding="utf-8")


def compare(ours, reference):
    read = lambda path: {(row["method"], row["dropped"]): row["perplexity"] for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
    ours, reference = read(ours), read(reference)
    shared = sorted(ours.keys() & reference.keys(), key=str)
    print("| method | dropped | corda | PyTorch fp64 | difference |\n|---|---:|---:|---:|---:|")
    for key in shared:
        print(f"| {key[0]} | {key[1]} | {ours[key]:.4f} | {reference[key]:.4f} | {ours[key] / reference[key] - 1:+.1e} |")
    worst = max(abs(ours[key] / reference[key] - 1) for key in shared)
    print(f"\n{len(shared)} perplexities, largest relative difference {worst:.2e}")
    sys.exit(worst > 0.01 or len(shared) != len(reference))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    path = pathlib.Path
    parser.add_argument("--model", type=path)
    parser.add_argument("--text", type=path)
    parser.add_argument("--write-calibration", type=path)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--calibration", type=path)
    parser.add_argument("--test", type=path)
    parser.add_argument("--seq-len", type=int, default=512)
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--ranks", default="8,64,128")
    parser.add_argument("--methods", default="svd,asvd,co-svd")
    parser.add_argument("--damping", type=float, default=0.01)
    parser.add_argument("--asvd-alpha", type=float, default=0.5)
    parser.add_argument("--out", type=path)
    parser.add_argument("--compare", type=path, nargs=2, metavar=("OURS", "REFERENCE"))
    args = parser.parse_args()
    if args.compare:
        compare(*args.compare)
    truncate(args)


if __name__ == "__main__":
    main()
