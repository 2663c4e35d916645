#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two hundred steps of LoRA on GSM8K over a quantised base: do the losses stay within the spread of seeds?

    scripts/experiments/quantised_losses.py --prepare --shared FOLDER --work WORK             # WORK/data, which can be carried elsewhere
    scripts/experiments/quantised_losses.py --corda PROGRAM --model FOLDER --work WORK --out FILE.jsonl
    scripts/experiments/quantised_losses.py --out FILE.jsonl --report

  corda-bf16   corda over 16-bit weights
  corda-nf4    corda, base: nf4
  corda-fp8    corda, precision: fp8
  corda-nf4+fp8  corda, both
  corda-cloq   corda, base: nf4, with a start of mode cloq for the training data's inputs in place of LoRA's
  corda-gptq   corda over a directory that `corda quantize --to nf4 --covariance` made with the same inputs
  peft-nf4     PEFT over bitsandbytes NF4 (nested absmax, products in bf16), under autocast as Hugging Face's Trainer runs it

All runs of a seed but corda-cloq's train the same adapter on the same samples in the same order with the same settings (configs/nano-qa/lora.yaml,
cosine over the steps), so that they differ in the base and in rounding alone; that the tokens of every step are equal is checked. A seed draws A and the order.
Two losses end a run: the mean of its last 20 steps, and that of an answer of 256 questions of GSM8K's test file. corda-fp8 is held to
corda-bf16, corda-nf4 to peft-nf4, corda-nf4+fp8 to corda-nf4: a loss is within the spread where, seed by seed, the two differ by less than the seeds of the reference do.
Of corda-cloq and corda-gptq it is said by how much they are below corda-nf4; corda-cloq has one start for all seeds.

FILE may have rows of several models, each reported for itself. `precision: fp8` leaves layers whose widths are no multiples of 128 in bf16, so a
model that has such layers alone (SmolLM2-135M: 576 and 192) says nothing about it: --only '*bf16*' or '*nf4*' there.

A run whose row is in FILE is not done again, one that fails stops no other. Exit status 1 where a loss is outside or a run is missing.
"""
import argparse
import concurrent.futures
import fnmatch
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

from experiment import TASK, Clock, Corda, Failed, in_parallel

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs" / "nano-qa" / "lora.yaml"
RANK, BATCH, LAST = 32, 32, 20
# The slowest first.
PROGRAMS = {"peft-nf4": None, "corda-fp8": {"precision": "fp8"}, "corda-nf4+fp8": {"precision": "fp8", "base": "nf4"}, "corda-nf4": {"precision": "bf16", "base": "nf4"},
            "corda-cloq": {"precision": "bf16", "base": "nf4", "method": "corda", "adapter": "start-cloq"},
            "corda-gptq": {"precision": "bf16", "model": "model-gptq"}, "corda-bf16": {"precision": "bf16"}}
HELD_TO = {"corda-fp8": "corda-bf16", "corda-nf4": "peft-nf4", "corda-nf4+fp8": "corda-nf4"}
BELOW = {"corda-cloq": "corda-nf4", "corda-gptq": "corda-nf4"}
LOSSES = {"loss": f"training, last {LAST} steps", "eval_loss": "held out"}


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def write_start(model, folder, seed):
    """A LoRA of every projection as PEFT begins one: A uniform within 1 / sqrt(in), B zero."""
    import numpy
    from safetensors import safe_open
    from safetensors.numpy import save_file
    draw, tensors = numpy.random.default_rng(seed), {}
    for file in sorted(model.glob("*.safetensors")):
        with safe_open(file, "numpy") as checkpoint:
            for name in sorted(checkpoint.keys()):
                if not name.endswith("_proj.weight"):
                    continue
                rows, columns = checkpoint.get_slice(name).get_shape()
                place = f"base_model.model.{name.removesuffix('.weight')}"
                tensors[f"{place}.lora_A.weight"] = draw.uniform(-1, 1, (RANK, columns)).astype("float32") / columns ** 0.5
                tensors[f"{place}.lora_B.weight"] = numpy.zeros((rows, RANK), "float32")
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    targets = sorted({name.split(".")[-3] for name in tensors})
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": str(model), "r": RANK, "lora_alpha": RANK, "lora_dropout": 0.0,
        "bias": "none", "target_modules": targets}), encoding="utf-8")


def prepare_informed(args, corda, names):
    """What corda-cloq and corda-gptq begin with: the covariance of the training data's inputs, and what is made of it."""
    data = ["--data", "data/gsm8k_train.jsonl", *TASK, "--template", "alpaca"]
    makes = {"cov": ["calibrate", "--model", "model", *data, "--samples", "256", "--seq-len", "256", "--activation-scaling", "none", "--device", args.device],
             "start-cloq": ["decompose", "--model", "model", "--mode", "cloq", "--rank", str(RANK), "--covariance", "cov", "--device", args.device],
             "model-gptq": ["quantize", "--model", "model", "--to", "nf4", "--covariance", "cov"]}
    wanted = [folder for program, folder in (("corda-cloq", "start-cloq"), ("corda-gptq", "model-gptq")) if program in names]
    for folder in ["cov", *wanted] if wanted else []:
        if not (args.work / folder).exists():
            corda(folder, *makes[folder], "--out", folder)


def peft_run(args):
    """One run of PEFT in this process; its row stands in --row."""
    # Batches of many lengths, which would leave pieces of memory behind.
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    import loss_curve
    import start_swap
    seed = args.peft_seed
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    # What the tokenizer puts in front of a text; an end that it puts behind one stands there anyway.
    prefix = [token for token in tokenizer("")["input_ids"] if token != tokenizer.eos_token_id]
    data, test = (start_swap.encoded(tokenizer, rows_of(args.work / "data" / f"gsm8k_{name}.jsonl"), prefix) for name in ("train", "test"))
    quantisation = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16)
    base = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.bfloat16, quantization_config=quantisation, device_map={"": args.device})
    model = PeftModel.from_pretrained(base, args.work / f"start-{seed}", is_trainable=True)
    assert all(p.dtype == torch.float32 for p in model.parameters() if p.requires_grad)
    args.precision = "bf16"
    begin = time.monotonic()
    model.train()
    losses = loss_curve.fit(args, model, data, tokenizer.pad_token_id or tokenizer.eos_token_id, seed, args.at_a_time)
    seconds = time.monotonic() - begin
    tokens = [sum(len(data[i][0]) for i in batch) for batch in loss_curve.corda_batches(len(data), seed, args.steps)]
    row = {"losses": losses, "tokens": tokens, "eval_loss": start_swap.task_loss(args, model, test[:args.test], tokenizer.eos_token_id, args.at_a_time or BATCH),
           "train_seconds": round(seconds, 1)}
    args.row.write_text(json.dumps(row), encoding="utf-8")


class Experiment:
    def __init__(self, args):
        self.args, self.clock, self.lock = args, Clock(args.limit), threading.Lock()
        self.corda = Corda(args.corda, args.work, args.device, args.jobs)

    def corda_run(self, name, seed):
        data = [{"path": f"data/gsm8k_{part}.jsonl", "format": "alpaca", "columns": {"instruction": "question", "output": "answer"}}
                for part in ("train", "test")]
        data[1]["count"] = self.args.test
        settings = {"adapter": f"start-{seed}", **PROGRAMS[name], "data.eval": json.dumps(data[1:]), "optim.lr": self.args.rate, "optim.max_steps": self.args.steps,
                    "optim.batch_size": BATCH, "seed": seed, "out": f"runs/{name}-{seed}"}
        begin = time.monotonic()
        self.corda.train(f"{name}-{seed}", CONFIG, **settings)
        seconds = time.monotonic() - begin
        steps = rows_of(self.args.work / "runs" / f"{name}-{seed}" / "metrics.jsonl")
        return {"losses": [step["loss"] for step in steps], "tokens": [step["tokens"] for step in steps], "eval_loss": steps[-1]["eval_loss"],
                "train_seconds": round(seconds, 1)}

    def peft_run(self, name, seed):
        row, log = (self.args.work / f"{name}-{seed}.{kind}" for kind in ("json", "txt"))
        arguments = ["--model", self.args.model, "--work", self.args.work, "--rate", self.args.rate, "--steps", self.args.steps, "--test", self.args.test,
                     "--device", "cuda" if self.args.device == "auto" else self.args.device, "--at-a-time", self.args.at_a_time, "--peft-seed", seed,
                     "--row", row]
        with open(log, "w", encoding="utf-8") as file:
            done = subprocess.run([sys.executable, __file__, *map(str, arguments)], stdout=file, stderr=file)
        if done.returncode != 0:
            raise Failed(f"{name}-{seed} ended with {done.returncode}; see {log}")
        return json.loads(row.read_text(encoding="utf-8"))

    def run(self, name, seed):
        if self.clock.is_over():
            raise Failed(f"{name}-{seed} was left for lack of time")
        row = self.corda_run(name, seed) if name.startswith("corda") else self.peft_run(name, seed)
        with self.lock, self.args.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"program": name, "seed": seed, "steps": self.args.steps, "rate": self.args.rate, "test": self.args.test,
                                   "model": self.args.model.name, "device": self.args.device, **row}) + "\n")
        self.clock.say(f"{name}-{seed}: loss {sum(row['losses'][-LAST:]) / len(row['losses'][-LAST:]):.4f}, held out {row['eval_loss']:.4f}, "
                       f"{row['train_seconds']} s")

    def work_through(self):
        there = {(row["program"], row["seed"]) for row in (rows_of(self.args.out) if self.args.out.exists() else []) if row["model"] == self.args.model.name}
        plan = [(name, seed) for name in PROGRAMS for seed in range(self.args.seeds)]
        plan = [item for item in plan if item not in there and any(fnmatch.fnmatch(f"{item[0]}-{item[1]}", pattern) for pattern in self.args.only.split(","))]
        link = self.args.work / "model"
        link.unlink(missing_ok=True)
        link.symlink_to(self.args.model.resolve())
        for seed in {seed for _, seed in plan}:
            write_start(self.args.model, self.args.work / f"start-{seed}", seed)
        prepare_informed(self.args, self.corda, {name for name, _ in plan})
        with concurrent.futures.ThreadPoolExecutor(self.args.jobs) as pool:
            in_parallel(pool, self.run, plan)


def report(rows):
    """A table a model, and how many losses are outside the spread or not known."""
    wrong = 0
    for model in dict.fromkeys(row["model"] for row in rows):
        print(f"\n## {model}\n")
        wrong += report_of([row for row in rows if row["model"] == model])
    return wrong


def report_of(rows):
    for row in rows:
        row["loss"] = sum(row["losses"][-LAST:]) / len(row["losses"][-LAST:])
    of = {name: {row["seed"]: row for row in rows if row["program"] == name} for name in PROGRAMS}
    wrong = 0
    for seed in {row["seed"] for row in rows}:
        if len({tuple(runs[seed]["tokens"]) for runs in of.values() if seed in runs}) > 1:
            print(f"seed {seed}: the programs saw other samples")
            wrong += 1
    print("| | " + " | ".join(f"{loss}: mean; spread of seeds" for loss in LOSSES.values()) + " | seeds | slowest run |\n|---|" + "---:|" * 4)
    for name, runs in of.items():
        values = {loss: [run[loss] for run in runs.values()] for loss in LOSSES}
        if runs:
            print(f"| {name} | " + " | ".join(f"{sum(v) / len(v):.4f}; {max(v) - min(v):.4f}" for v in values.values()) +
                  f" | {len(runs)} | {max(run['train_seconds'] for run in runs.values()):.0f} s |")
    print()
    for name, reference in HELD_TO.items():
        if not of[name]:
            continue
        seeds = sorted(set(of[name]) & set(of[reference]))
        if len(seeds) < 2 or len(of[name]) != len(of[reference]):
            print(f"{name} beside {reference}: no verdict of {len(of[name])} and {len(of[reference])} runs")
            wrong += 1
            continue
        for loss, words in LOSSES.items():
            differences = [of[name][seed][loss] - of[reference][seed][loss] for seed in seeds]
            values = [of[reference][seed][loss] for seed in seeds]
            spread = max(values) - min(values)
            outside = max(map(abs, differences)) > spread
            wrong += outside
            print(f"{name} beside {reference}, {words}: differ by {', '.join(f'{d:+.4f}' for d in differences)}; seeds by {spread:.4f}: "
                  f"{'outside' if outside else 'within'} the spread")
    for name, reference in BELOW.items():
        for loss, words in LOSSES.items():
            below = [of[reference][seed][loss] - of[name][seed][loss] for seed in sorted(set(of[name]) & set(of[reference]))]
            if below:
                print(f"{name} below {reference}, {words}: by {', '.join(f'{d:+.4f}' for d in below)}")
    return wrong


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corda", type=lambda path: pathlib.Path(path).resolve(), default=ROOT / "build" / "cpu" / "bin" / "corda")
    parser.add_argument("--model", type=pathlib.Path, help="folder of the base")
    parser.add_argument("--work", type=lambda path: pathlib.Path(path).resolve(), default=ROOT / "runs" / "quantised-losses")
    parser.add_argument("--out", type=pathlib.Path, help="rows, a line a run")
    parser.add_argument("--shared", type=pathlib.Path, default=ROOT / ".." / "shared", help="folder with data/datasets, for --prepare")
    parser.add_argument("--seeds", type=int, default=3, help="from 0")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--test", type=int, default=256, help="questions held out")
    parser.add_argument("--only", default="*", help="runs whose name matches one of these, such as 'corda-nf4-*,peft-*'")
    parser.add_argument("--jobs", type=int, default=4, help="runs at a time")
    parser.add_argument("--at-a-time", type=int, default=0, help="samples of a step that PEFT has in memory at a time; 0: all of them")
    parser.add_argument("--limit", type=float, default=0, help="seconds after which no further run is started")
    parser.add_argument("--device", default="auto", help="on a CPU corda runs in fp32, whatever its precision")
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--peft-seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--row", type=pathlib.Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    args = arguments()
    if args.prepare:
        from prepare_nano_qa import write_gsm8k
        (args.work / "data").mkdir(parents=True, exist_ok=True)
        write_gsm8k(args.shared / "data" / "datasets", args.work / "data")
        return 0
    if args.peft_seed is not None:
        peft_run(args)
        return 0
    if not args.report:
        if not (args.work / "data" / "gsm8k_train.jsonl").exists():
            sys.exit(f"error: there is no {args.work / 'data'}; --prepare makes it")
        Experiment(args).work_through()
    return report(rows_of(args.out)) > 0


if __name__ == "__main__":
    sys.exit(main())
