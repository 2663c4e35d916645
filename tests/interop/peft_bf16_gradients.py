# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""How far PEFT's gradients in bf16 (base in bf16, factors in fp32, autocast) are from fp32's on the same rounded base: the
mean and the largest of || a - b || / || b || over every factor and batch, as JSON."""

import argparse
import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from peft import PeftModel
from transformers import AutoModelForCausalLM


def loss_of(model, batch):
    width = max(len(s["ids"]) for s in batch)
    pad = lambda values: values + [0] * (width - len(values))
    ids = torch.tensor([pad(s["ids"]) for s in batch])
    mask = torch.tensor([pad([1] * len(s["ids"])) for s in batch])
    chosen = torch.tensor([pad(s["supervised"]) for s in batch])[:, 1:].bool()
    logits = model(input_ids=ids, attention_mask=mask).logits
    return F.cross_entropy(logits[:, :-1][chosen].float(), ids[:, 1:][chosen], reduction="sum") / chosen.sum()


def gradients_of(model, batch):
    model.zero_grad()
    loss_of(model, batch).backward()
    return {n: p.grad.double() for n, p in model.named_parameters() if p.requires_grad}


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--base", required=True, type=Path)
    p.add_argument("--adapter", required=True, type=Path)
    p.add_argument("--batches", required=True, type=Path)
    args = p.parse_args()
    batches = json.loads(args.batches.read_text())["batches"]

    def adapted(dtype):
        base = AutoModelForCausalLM.from_pretrained(args.base, dtype=torch.bfloat16, local_files_only=True).to(dtype)
        model = PeftModel.from_pretrained(base, args.adapter, is_trainable=True)
        if any(q.dtype != torch.float32 for q in model.parameters() if q.requires_grad):
            raise ValueError("PEFT does not keep the factors in fp32")
        return model.train()

    exact, rounded = adapted(torch.float32), adapted(torch.bfloat16)
    errors = []
    for batch in batches:
        truth = gradients_of(exact, batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = gradients_of(rounded, batch)
        errors += [((found[n] - truth[n]).norm() / truth[n].norm()).item() for n in truth]
    print(json.dumps({"gradients": len(errors), "mean": sum(errors) / len(errors), "largest": max(errors)}))


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # the test shows the reason
        sys.exit(f"{type(error).__name__}: {error}")
