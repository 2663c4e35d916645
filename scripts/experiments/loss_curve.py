#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two hundred steps of LoRA on GSM8K with nano-qa-11m: does corda's loss curve lie on PEFT's?

Both train the same adapter (as PEFT drew it) on the same samples in the same order (that of corda's seed) with the same settings
(configs/nano-qa/lora.yaml, cosine over 200 steps), so that only rounding differs. Curves are means over windows of 20 steps. For every window: corda's and PEFT's mean over seeds,
the largest difference between the programs at one seed, and the largest difference between two seeds of one program.

    scripts/experiments/loss_curve.py --corda PROGRAM --work FOLDER --out FILE.jsonl

FOLDER is what `scripts/experiments/nano_qa.sh --prepare` makes. Needs transformers and PEFT. Exit status 1 where the programs differ
by more than the seeds do (of one seed alone there is no verdict).
"""
import argparse
import json
import math
import pathlib
import subprocess
import sys

import start_swap

WINDOW = 20
BATCH = 32
WORD = (1 << 64) - 1


def splitmix64(state):
    state = (state + 0x9E3779B97F4A7C15) & WORD
    z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
    return state, z ^ (z >> 31)


def derive_seed(seed, stream):
    _, word = splitmix64(seed)
    return splitmix64(word ^ (stream * 0xD1342543DE82EF95 & WORD))[1]


class Random:
    """corda::core::Random: xoshiro256** seeded through splitmix64."""

    def __init__(self, seed):
        self.state = []
        for _ in range(4):
            seed, word = splitmix64(seed)
            self.state.append(word)

    def next(self):
        rotl = lambda x, k: ((x << k) | (x >> (64 - k))) & WORD
        a, b, c, d = self.state
        result = rotl(b * 5 & WORD, 7) * 9 & WORD
        c, d = c ^ a, d ^ b
        self.state = [a ^ d, b ^ c, c ^ (b << 17 & WORD), rotl(d, 45)]
        return result

    def below(self, bound):
        product = self.next() * bound
        while product & WORD < ((1 << 64) - bound) % bound:
            product = self.next() * bound
        return product >> 64


def corda_batches(size, seed, steps):
    """The samples of corda's steps: an epoch shuffles by stream 1 of the seed and its number (src/train/train.cpp,
    src/data/epoch_sampler.cpp); the last batch of an epoch is what is left."""
    batches, epoch = [], 0
    while len(batches) < steps:
        random, order = Random(derive_seed(derive_seed(seed, 1), epoch)), list(range(size))
        for i in range(size, 1, -1):
            j = random.below(i)
            order[i - 1], order[j] = order[j], order[i - 1]
        batches += [order[i:i + BATCH] for i in range(0, size, BATCH)]
        epoch += 1
    return batches[:steps]


def fit(args, model, data, pad, seed, at_a_time=0):
    """The losses of args.steps steps of AdamW, warm-up and cosine, in corda's order of samples; so many samples are in memory at a time, 0: all of a step."""
    import torch
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=args.rate, weight_decay=0.0)
    warmup = math.ceil(0.03 * args.steps)
    losses = []
    for step, batch in enumerate(corda_batches(len(data), seed, args.steps)):
        ids, labels, mask = start_swap.collate([data[i] for i in batch], pad, args.device)
        rate = step / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * (step - warmup) / (args.steps - warmup)))
        optimizer.param_groups[0]["lr"] = args.rate * rate
        total, targets = 0.0, (labels[:, 1:] != -100).sum()
        for part in zip(*(tensor.split(at_a_time or BATCH) for tensor in (ids, labels, mask))):
            part_ids, part_labels, part_mask = part
            with torch.autocast(args.device.split(":")[0], dtype=torch.bfloat16, enabled=args.precision == "bf16"):
                loss = model(input_ids=part_ids, attention_mask=part_mask, labels=part_labels).loss
            loss = loss * ((part_labels[:, 1:] != -100).sum() / targets)  # the mean over the targets of all parts
            loss.backward()
            total += loss.detach()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(total)
    return [float(loss) for loss in losses]


def peft_losses(args, seed):
    import torch
    from peft import LoraConfig, get_peft_model
    torch.manual_seed(seed)
    tokenizer = start_swap.load_tokenizer(args)
    data = start_swap.samples(args, tokenizer, "gsm8k_train.jsonl")
    model = get_peft_model(start_swap.load_model(args), LoraConfig(r=32, lora_alpha=32, target_modules=list(start_swap.TARGETS)))
    model.save_pretrained(args.scratch / f"start-{seed}-{args.precision}")
    return fit(args, model, data, tokenizer.eos_token_id, seed)


def corda_losses(args, seed):
    out = (args.scratch / f"corda-{seed}-{args.precision}").resolve()
    config = pathlib.Path(__file__).resolve().parents[2] / "configs" / "nano-qa" / "lora.yaml"
    settings = {"adapter": (args.scratch / f"start-{seed}-{args.precision}").resolve(), "optim.lr": args.rate, "optim.max_steps": args.steps,
                "optim.batch_size": BATCH, "precision": args.precision, "seed": seed, "device": args.device, "out": out}
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
    parser.add_argument("--seeds", type=int, default=3, help="seeds of A and of the order, from 0")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    curves = {"PEFT": [], "corda": []}
    for seed in range(args.seeds):
        for name, losses_of in (("PEFT", peft_losses), ("corda", corda_losses)):
            losses = losses_of(args, seed)
            curves[name].append(windows(losses))
            if args.out:
                with args.out.open("a") as file:
                    file.write(json.dumps({"program": name, "seed": seed, "rate": args.rate, "precision": args.precision, "losses": losses}) + "\n")
    print("| steps | PEFT | corda | largest between programs | largest between seeds |\n|---|---:|---:|---:|---:|")
    outside = 0
    for i in range(len(curves["PEFT"][0])):
        peft, corda = ([curve[i] for curve in curves[name]] for name in ("PEFT", "corda"))
        difference = max(abs(a - b) for a, b in zip(peft, corda))
        spread = max(max(peft) - min(peft), max(corda) - min(corda))
        outside += difference > spread
        print(f"| {WINDOW * i + 1} to {WINDOW * (i + 1)} | {sum(peft) / len(peft):.4f} | {sum(corda) / len(corda):.4f} | {difference:.4f} | {spread:.4f} |")
    if args.seeds == 1:
        return 0
    print(f"loss curves: {'outside the spread in ' + str(outside) + ' windows' if outside else 'within the spread of seeds in every window'}")
    return outside > 0


if __name__ == "__main__":
    sys.exit(main())
