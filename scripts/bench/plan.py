#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `corda plan` foretells beside what `corda train` takes, on one GPU.

    scripts/bench/plan.py --corda build/cpu/bin/corda --work runs/bench-plan --models 7b=FOLDER,1b=FOLDER

FOLDERs hold models with a tokenizer (scripts/bench/llama_shape.py writes such models). Every configuration trains a few steps on samples that fill
data.max_length. Memory is what the driver says the card lends, the context of CUDA included, against `total_bytes` of the plan. Needs nvidia-ml-py.
Prints a Markdown table; OUT.jsonl has every figure.
"""
import argparse
import json
import pathlib
import random
import statistics
import subprocess
import sys
import threading
import time

# name -> model, settings over those in `run`
CONFIGS = {
    "LoRA, 4 x 2048": ("7b", {}),
    "LoRA, 1 x 2048": ("7b", {"optim.micro_batch_tokens": 2048}),
    "LoRA, 4 x 2048, blocks recomputed": ("7b", {"recompute": "block"}),
    "LoRA, 12 x 2048": ("7b", {"optim.micro_batch_tokens": 24576, "optim.batch_size": 12}),
    "nf4, 4 x 2048": ("7b", {"base": "nf4"}),
    "nf4, 1 x 2048, blocks recomputed": ("7b", {"base": "nf4", "optim.micro_batch_tokens": 2048, "recompute": "block"}),
    "fp8, 4 x 2048": ("7b", {"base": "fp8"}),
    "DoRA, 1 x 2048": ("1b", {"method": "dora", "optim.micro_batch_tokens": 2048}),
    "full, 8 x 512": ("1b", {"method": "full", "optim.micro_batch_tokens": 4096, "data.max_length": 512, "optim.batch_size": 8}),
}


class Watch:
    """The most memory that the card lent, above what it lent before."""

    def __init__(self):
        import pynvml
        pynvml.nvmlInit()
        self.read = lambda: pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).used

    def __enter__(self):
        self.before, self.peak, self.ended = self.read(), 0, False
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.ended:
            self.peak = max(self.peak, self.read() - self.before)
            time.sleep(0.01)

    def __exit__(self, *_):
        self.ended = True
        self.thread.join()


def write_samples(path, count=24, words=3000, seed=3):
    source = random.Random(seed)
    lexicon = ["".join(source.choices("bdfgklmnprstaeiou", k=source.randint(2, 7))) for _ in range(400)]
    path.write_text("".join(json.dumps({"instruction": " ".join(source.choices(lexicon, k=20)),
                                        "output": " ".join(source.choices(lexicon, k=words))}) + "\n" for _ in range(count)))


def nested(settings):
    tree = {}
    for key, value in settings.items():
        *groups, name = key.split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = value
    return tree


def run(args, name, models):
    model, changes = CONFIGS[name]
    out = args.work / "run"
    settings = {"model": models[model], "data.train": [str(args.work / "samples.jsonl")], "data.template": "alpaca", "data.max_length": 2048,
                "data.cache": "none", "method": "lora", "lora.rank": 128, "optim.batch_size": 4, "optim.micro_batch_tokens": 8192, "optim.max_steps": 6,
                "optim.lr": 1e-5, "out": str(out), **changes}
    file = args.work / "train.yaml"
    file.write_text(json.dumps(nested(settings)))  # JSON is YAML
    flags = ["--config", file]
    planned = json.loads(subprocess.run([args.corda, "plan", *flags, "--json", "-q"], capture_output=True, text=True, check=True).stdout)
    subprocess.run(["rm", "-rf", out], check=True)
    begin = time.perf_counter()
    with Watch() as watch:
        done = subprocess.run([args.corda, "train", *flags, "--json", "-q"], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-500:])
    steps = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {"name": name, "planned_bytes": planned["total_bytes"], "measured_bytes": watch.peak, "allocator_bytes": json.loads(done.stdout)["peak_memory_bytes"],
            "planned_rate": planned["tokens_per_second"], "measured_rate": statistics.median(s["tokens_per_second"] for s in steps[3:]),
            "weights": {k: v for k, v in planned["bytes"].items()}, "seconds": time.perf_counter() - begin}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corda", required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--models", required=True, help="name=FOLDER,...")
    parser.add_argument("--only", help="numbers of configurations, from 0")
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    models = dict(part.split("=") for part in args.models.split(","))
    write_samples(args.work / "samples.jsonl")
    names = list(CONFIGS)
    if args.only:
        names = [names[int(i)] for i in args.only.split(",")]
    print("| configuration | planned GB | measured GB | planned / measured | planned tok/s | measured tok/s |\n|---|---:|---:|---:|---:|---:|")
    for name in names:
        try:
            found = run(args, name, models)
        except (RuntimeError, subprocess.CalledProcessError, ValueError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        print(f"| {name} | {found['planned_bytes'] / 1e9:.1f} | {found['measured_bytes'] / 1e9:.1f} | {found['planned_bytes'] / found['measured_bytes']:.2f} "
              f"| {found['planned_rate']:.0f} | {found['measured_rate']:.0f} |", flush=True)
        if args.out:
            with args.out.open("a") as file:
                file.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
