# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""PEFT's gradients of an adapter's factors on batches of samples. Without --out: how far those in bf16 (base in bf16, factors in
fp32, autocast) are from fp32's on the same rounded base, the mean and the largest of || a - b || / || b || over every factor and
batch, as JSON; with --nf4 over a base that bitsandbytes holds in NF4 (exit status 77 without it), fp32's on its dequantised copy.
With --out: those of the first batch in fp32, as safetensors by corda's names, and the loss as JSON."""

import argparse
import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM


def loss_of(model, batch):
    width = max(len(s["ids"]) for s in batch)
    pad = lambda values: values + [0] * (width - len(values))
    tensor = lambda rows: torch.tensor(rows, device=model.device)
    ids = tensor([pad(s["ids"]) for s in batch])
    mask = tensor([pad([1] * len(s["ids"])) for s in batch])
    chosen = tensor([pad(s["supervised"]) for s in batch])[:, 1:].bool()
    logits = model(input_ids=ids, attention_mask=mask).logits
    return F.cross_entropy(logits[:, :-1][chosen].float(), ids[:, 1:][chosen], reduction="sum") / chosen.sum()


def gradients_of(model, batch):
    model.zero_grad()
    loss = loss_of(model, batch)
    loss.backward()
    return loss.item(), {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


def adapted(args, stored, computed):
    base = AutoModelForCausalLM.from_pretrained(args.base, dtype=stored, local_files_only=True).to(args.device, computed)
    model = PeftModel.from_pretrained(base, args.adapter, is_trainable=True)
    if any(q.dtype != torch.float32 for q in model.parameters() if q.requires_grad):
        raise ValueError("PEFT does not keep the factors in fp32")
    return model.train()


def over_nf4(args):
    """The model over bitsandbytes' codes, and its dequantised copy that computes in fp32."""
    try:
        import bitsandbytes
        from transformers import BitsAndBytesConfig
    except ImportError as missing:
        print(missing, file=sys.stderr)
        sys.exit(77)
    how = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16)
    base = AutoModelForCausalLM.from_pretrained(args.base, dtype=torch.bfloat16, quantization_config=how, device_map={"": args.device}, local_files_only=True)
    copy = AutoModelForCausalLM.from_pretrained(args.base, dtype=torch.bfloat16, local_files_only=True).to(args.device, torch.float32)
    layers = {n: m for n, m in base.named_modules() if isinstance(m, bitsandbytes.nn.Linear4bit)}
    if not layers:
        raise ValueError("no layer is in 4 bits")
    for name, layer in layers.items():
        values = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        copy.get_submodule(name).weight.data = values.to(torch.bfloat16).to(torch.float32)
    return [PeftModel.from_pretrained(model, args.adapter, is_trainable=True).train() for model in (copy, base)]


def write_exact(args, batch):
    loss, found = gradients_of(adapted(args, torch.float32, torch.float32), batch)
    short = lambda n: n.removeprefix("base_model.model.").removesuffix(".default.weight")
    save_file({short(n): g.cpu().contiguous() for n, g in found.items()}, args.out)
    return {"loss": loss}


def compare_bf16(args, batches):
    exact, rounded = over_nf4(args) if args.nf4 else (adapted(args, torch.bfloat16, torch.float32), adapted(args, torch.bfloat16, torch.bfloat16))
    errors = []
    for batch in batches:
        _, truth = gradients_of(exact, batch)
        with torch.autocast(args.device, dtype=torch.bfloat16):
            _, found = gradients_of(rounded, batch)
        errors += [((found[n].double() - truth[n].double()).norm() / truth[n].double().norm()).item() for n in truth]
    return {"gradients": len(errors), "mean": sum(errors) / len(errors), "largest": max(errors)}


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--base", required=True, type=Path)
    p.add_argument("--adapter", required=True, type=Path)
    p.add_argument("--batches", required=True, type=Path)
    p.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    p.add_argument("--nf4", action="store_true")
    p.add_argument("--out", type=Path)
    args = p.parse_args()
    batches = json.loads(args.batches.read_text())["batches"]
    print(json.dumps(write_exact(args, batches[0]) if args.out else compare_bf16(args, batches)))


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # the test shows the reason
        sys.exit(f"{type(error).__name__}: {error}")
