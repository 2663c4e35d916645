#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two hundred steps of LoRA on GSM8K with nano-qa-11m: does corda's loss curve lie on PEFT's?

Both train the same model on the same samples with the same settings (configs/nano-qa/lora.yaml, cosine over 200 steps); each program and
seed shuffles for itself and PEFT draws its own A. Curves are means over windows of 20 steps. For every window: corda's and PEFT's mean over
seeds, and the largest difference between two seeds of one program.

    scripts/experiments/loss_curve.py --corda PROGRAM --work FOLDER --out FILE.jsonl

FOLDER is what `scripts/experiments/nano_qa.sh --prepare` makes. Needs transformers and PEFT. Exit status 1 where the means differ by more than
the seeds do.
"""
import argparse
import json
import math
import pathlib
import random
import subprocess
import sys

import kpa_swap

WINDOW = 20


def peft_losses(args, seed):
    import torch
    from peft import LoraConfig, get_peft_model
    torch.manual_seed(seed)
    tokenizer = kpa_swap.load_tokenizer(args)
    data = kpa_swap.samples(args, tokenizer, "gsm8k_train.jsonl")
    model = get_peft_model(kpa_swap.load_model(args), LoraConfig(r=32, lora_alpha=32, target_modules=list(kpa_swap.TARGETS)))
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=args.rate, weight_decay=0.0)
    warmup = math.ceil(0.03 * args.steps)
    order, shuffle, losses = [], random.Random(seed), []
    for step in range(args.steps):
        if not order:
            order = list(range(len(data)))
            shuffle.shuffle(order)
        batch, order = order[:32], order[32:]
        ids, labels, mask = kpa_swap.collate([data[i] for i in batch], tokenizer.eos_token_id, args.device)
        rate = step / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * (step - warmup) / (args.steps - warmup)))
        optimizer.param_groups[0]["lr"] = args.rate * rate
        with torch.autocast(args.device.split(":")[0], dtype=torch.bfloat16):
            loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.detach())
    return [float(loss) for loss in losses]


def corda_losses(args, seed):
    out = (args.scratch / f"corda-{seed}").resolve()
    config = pathlib.Path(__file__).resolve().parents[2] / "configs" / "nano-qa" / "lora.yaml"
    settings = {"optim.lr": args.rate, "optim.max_steps": args.steps, "seed": seed, "device": args.device, "out": out}
    subprocess.run([args.corda, "train", "--config", config, "--quiet",
                    *(part for key, value in settings.items() for part in ("--set", f"{key}={value}"))], cwd=args.work, check=True)
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


def windows(losses):
    return [sum(losses[i:i + WINDOW]) / WINDOW for i in range(0, len(losses) - WINDOW + 1, WINDOW)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corda", required=True, type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--scratch", type=pathlib.Path, default=pathlib.Path("runs/loss-curve"))
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    curves = {"PEFT": [], "corda": []}
    for seed in range(args.seeds):
        for name, losses_of in (("PEFT", peft_losses), ("corda", corda_losses)):
            losses = losses_of(args, seed)
            curves[name].append(windows(losses))
            if args.out:
                with args.out.open("a") as file:
                    file.write(json.dumps({"program": name, "seed": seed, "rate": args.rate, "losses": losses}) + "\n")
    print(f"| steps | PEFT | corda | difference | largest between seeds |\n|---|---:|---:|---:|---:|")
    outside = 0
    for i in range(len(curves["PEFT"][0])):
        peft, corda = ([curve[i] for curve in curves[name]] for name in ("PEFT", "corda"))
        difference = sum(corda) / len(corda) - sum(peft) / len(peft)
        spread = max(max(peft) - min(peft), max(corda) - min(corda))
        outside += abs(difference) > spread
        print(f"| {WINDOW * i + 1} to {WINDOW * (i + 1)} | {sum(peft) / len(peft):.4f} | {sum(corda) / len(corda):.4f} | {difference:+.4f} | {spread:.4f} |")
    print(f"loss curves: {'outside the spread in ' + str(outside) + ' windows' if outside else 'equal within the spread of seeds'}")
    return outside > 0


if __name__ == "__main__":
    sys.exit(main())
