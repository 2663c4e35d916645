#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Begins CorDA's recipes of configs/studies/paper-*.yaml on random weights of their bases' shapes.

    scripts/experiments/begin_recipes.py --work DIR --prepare [--shared ../shared]      # DIR/hf: a few hundred samples in the sets' formats
    scripts/experiments/begin_recipes.py --work DIR --out FILE [--limit SECONDS] [BASE:RECIPE:METHOD ...]

BASE is one of llama-2-7b, llama-3.1-8b, qwen2.5-7b, gemma-2-9b; RECIPE math, code or instructions; METHOD one of the recipe's. Each is
'corda study compare' on the shipped file, in which alone these things are others: the one method, --steps optimizer steps in place of an
epoch, --samples windows of calibration, no evaluation (or of --evaluate samples), JSONL in place of Parquet and, of method full, smaller
micro-batches. Batches are the recipe's 128 samples. A line a run goes to FILE as soon as it is done; what FILE has is not done again. The
model of a base is made before its first run and removed after its last one, so name the runs of a base one after another.
"""
import argparse
import concurrent.futures
import datetime
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

from prepare_nano_qa import questions, read

ROOT = pathlib.Path(__file__).resolve().parents[2]
WEIGHTS_GB = {"llama-2-7b": 13.5, "llama-3.1-8b": 16.1, "qwen2.5-7b": 15.3, "gemma-2-9b": 18.5}
RUN_GB = {"llama-2-7b": 52, "llama-3.1-8b": 60, "qwen2.5-7b": 60, "gemma-2-9b": 72}  # of the GPU, that must be free for an adapter's run
RECIPES = ["math", "code", "instructions"]
PLAN = ["gemma-2-9b:code:lora", "gemma-2-9b:instructions:lora", "llama-3.1-8b:math:lora", "llama-3.1-8b:instructions:lora",
        "llama-2-7b:code:lora", "llama-2-7b:instructions:lora", "llama-2-7b:code:ipa", "llama-2-7b:math:pissa", "llama-2-7b:math:full"]
SPARE_GB = 35  # of disk, beside models: covariances of a 7B, adapters, a fully fine-tuned model
SMALL_MODEL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
               "vocab_size": 4096}


# Data.

def metamath(row):
    """A row of GSM8K as MetaMathQA writes it."""
    answer = re.sub(r"<<[^>]*>>", "", row["answer"])
    return {"query": row["question"], "response": f"{answer}\nThe answer is: {answer.split('####')[-1].strip()}"}


def prepare(datasets, hub):
    """Files of the data sets that the recipes name, as Hugging Face's cache has them."""
    train, test = (read(datasets / "gsm8k" / f"{part}.jsonl.gz") for part in ("train", "test"))
    code = read(datasets / "instruct" / "gpteacher-codegen-instruct.json.gz")
    code = [{"query": row["instruction"] + ("\n" + row["input"] if row.get("input") else ""), "answer": row["response"]} for row in code]
    seed = [(row["instruction"], one["input"], one["output"]) for row in read(datasets / "instruct" / "alpaca_seed_tasks.jsonl.gz")
            for one in row["instances"][:1]]
    evol = [{"instruction": task + ("\n" + given if given else ""), "output": answer} for task, given, answer in seed]
    evol += [{"instruction": row["query"], "output": row["answer"]} for row in code[400:]]
    nq, trivia, web = ([questions(row) for row in read(datasets / name)]
                       for name in ("nq_open/NQ-open.dev.jsonl.gz", "triviaqa/triviaqa.dev.jsonl.gz", "webquestions/test.json.gz"))
    humaneval = read(datasets / "code" / "HumanEval.jsonl.gz")
    files = {
        "meta-math/MetaMathQA/MetaMathQA-395K.json": [metamath(row) for row in train[:400]],
        "m-a-p/CodeFeedback-Filtered-Instruction/CodeFeedback-Filtered-Instruction.jsonl": code[:400],
        "WizardLMTeam/WizardLM_evol_instruct_70k/alpaca_evol_instruct_70k.json": evol[:400],
        "google-research-datasets/nq_open/nq_open/train-0.jsonl": [{"question": q, "answer": a} for q, a in nq[100:2100]],
        "google-research-datasets/nq_open/nq_open/validation-0.jsonl": [{"question": q, "answer": a} for q, a in nq[:100]],
        "mandarjoshi/trivia_qa/rc.nocontext/validation-0.jsonl": [{"question": q, "answer": {"value": a[0], "aliases": a}} for q, a in trivia[:100]],
        "stanfordnlp/web_questions/data/test-0.jsonl": [{"question": q, "answers": a} for q, a in web[:100]],
        "openai/gsm8k/main/test-0.jsonl": test[:100],
        "openai/openai_humaneval/openai_humaneval/test-0.jsonl": humaneval[:100],
        "tatsu-lab/alpaca/data/train-0.jsonl": [{"instruction": task, "input": given, "output": answer} for task, given, answer in seed[:100]],
    }
    for name, rows in files.items():
        owner, dataset, file = name.split("/", 2)
        repository = hub / f"datasets--{owner}--{dataset}"
        path = repository / "snapshots" / "sample" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(rows) if path.suffix == ".json" else "".join(json.dumps(row) + "\n" for row in rows)
        path.write_text(text, encoding="utf-8")
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / "main").write_text("sample")


# A recipe, shortened.

def replaced(text, pattern, by, what):
    text, count = re.subn(pattern, by, text, flags=re.MULTILINE)
    if not count:
        sys.exit(f"error: the recipe says nothing of {what}")
    return text


def shortened(text, method, args):
    """The recipe's YAML for one method and few steps."""
    block = re.search(r"^methods:\n((?:  .*\n)+)", text, re.MULTILINE).group(1)
    line = re.search(rf"^  {method}: .*\n", block, re.MULTILINE)
    if not line:
        sys.exit(f"error: the recipe has no method {method}")
    text = text.replace(block, line.group(0))
    text = replaced(text, r"\bepochs: 1\b", f"max_steps: {args.steps}", "epochs")
    text = replaced(text, r"\bsamples: 256\b", f"samples: {args.samples}", "samples of calibration")
    text = replaced(text, r"-\*\.parquet\b", "-*.jsonl", "Parquet")
    if method == "full":
        text = replaced(text, r"\bmicro_batch_tokens: \d+", f"micro_batch_tokens: {args.full_micro_batch_tokens}", "micro-batches")
    head, evaluations = text.split("\nevaluate:\n")
    if args.evaluate:
        evaluations = re.sub(r", samples: \d+", "", evaluations)
        evaluations = replaced(evaluations, r"^(  \w+: \{.*)\}$", rf"\1, samples: {args.evaluate}}}", "evaluations")
        evaluations = re.sub(r"^(  \w+: \{task: (?!perplexity|webqs).*)\}$", r"\1, max_new_tokens: 8}", evaluations, flags=re.MULTILINE)
        text = f"{head}\nevaluate:\n{evaluations}"
    else:
        text = f"{head}\nevaluate: {{}}\n"
    if args.small:
        for pattern, by in ((r"\bprecision: bf16", "precision: fp32"), (r"\brank: 128", "rank: 4"), (r"\balpha: 128", "alpha: 4"),
                            (r"\bbatch_size: 128", "batch_size: 4"), (r"\bseq_len: 2048", "seq_len: 1024")):
            text = replaced(text, pattern, by, pattern)
    return text


# Runs.

class Beginnings:
    def __init__(self, args):
        self.args, self.begin = args, time.monotonic()
        self.pool = concurrent.futures.ThreadPoolExecutor(1)
        self.made = {}  # of bases: what makes them
        self.machine = {"card": "CPU", "date": datetime.date.today().isoformat()}
        if args.device != "cpu":
            self.machine["card"] = nvidia_smi("name")
        version = subprocess.run([args.corda, "--version"], capture_output=True, text=True, check=True).stdout
        self.machine["corda"] = re.sub(r"^corda ", "", version.split("\n")[0].strip())

    def say(self, text):
        print(f"{time.monotonic() - self.begin:6.0f} s  {text}", file=sys.stderr, flush=True)

    def left(self):
        return self.args.limit - (time.monotonic() - self.begin) if self.args.limit else float("inf")

    def record(self, row):
        with open(self.args.out, "a", encoding="utf-8") as file:
            file.write(json.dumps({**row, **self.machine}) + "\n")

    def folder_of(self, base):
        return self.args.work / "models" / base

    def make(self, base):
        """Writes the random model; returns the seconds that took."""
        folder, begin = self.folder_of(base), time.monotonic()
        shutil.rmtree(folder, ignore_errors=True)
        command = [sys.executable, ROOT / "scripts" / "bench" / "random_model.py", "--config", base, "--out", folder]
        if self.args.small:
            sizes = {**SMALL_MODEL, **({"head_dim": 16, "query_pre_attn_scalar": 16} if base.startswith("gemma") else {})}
            command += [f"--set={key}={value}" for key, value in sizes.items()]
        subprocess.run(command, check=True, stdout=sys.stderr)
        return time.monotonic() - begin

    def begin_making(self, base, beside=0.0):
        """Has the model made, where the disk has room for it and `beside` GB more."""
        if base not in self.made and (self.args.small or shutil.disk_usage(self.args.work).free / 1e9 > WEIGHTS_GB[base] + beside):
            self.made[base] = self.pool.submit(self.make, base)

    def wait_for_memory(self, gigabytes):
        """Whether so much of the GPU's memory is free, or becomes so before the limit."""
        while self.args.device != "cpu" and float(nvidia_smi("memory.free")) / 1e3 < gigabytes:
            if self.left() < 30:
                return False
            time.sleep(2)
        return True

    def study(self, base, recipe, method):
        """Runs one study; returns its row."""
        name = f"{base}-{recipe}-{method}"
        out, config, log = (self.args.work / part / (name + end) for part, end in (("runs", ""), ("configs", ".yaml"), ("logs", ".txt")))
        for path in (out, config, log):
            path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(out, ignore_errors=True)
        source = (ROOT / "configs" / "studies" / f"paper-{recipe}.yaml").read_text(encoding="utf-8")
        config.write_text(shortened(source, method, self.args), encoding="utf-8")
        command = [self.args.corda, "study", "compare", "--config", config, "--set", f"model={self.folder_of(base)}", "--out", out,
                   "--device", self.args.device, *(["--threads", str(self.args.threads)] if self.args.threads else [])]
        begin = time.monotonic()
        with open(log, "w", encoding="utf-8") as file:
            try:
                longest = min(self.left(), self.args.each or float("inf"))
                status = subprocess.run(list(map(str, command)), stdout=file, stderr=file, env=self.environment(),
                                        timeout=None if longest == float("inf") else max(longest, 1)).returncode
            except subprocess.TimeoutExpired:
                status = "cut by a limit"
        row = {"base": base, "recipe": recipe, "method": method, "seconds": round(time.monotonic() - begin, 1)}
        metrics = [json.loads(line) for path in out.glob("runs/*/metrics.jsonl") for line in path.read_text(encoding="utf-8").splitlines()]
        if metrics:
            row.update({"steps": len(metrics), "loss": [round(step["loss"], 4) for step in metrics],
                        "grad_norm": [round(step["grad_norm"], 4) for step in metrics], "lr": [step["lr"] for step in metrics],
                        "tokens": [step["tokens"] for step in metrics], "tokens_per_second": [round(step["tokens_per_second"]) for step in metrics],
                        "peak_memory_gb": round(max(step["peak_memory_bytes"] for step in metrics) / 1e9, 2)})
        states = [json.loads(path.read_text(encoding="utf-8")) for path in out.glob("runs/*/study.json")]
        if status == 0 and [state["state"] for state in states] == ["done"] and len(metrics) == self.args.steps:
            row["state"] = "done"
            row["train_seconds"] = round(states[0]["train_seconds"], 1)
        else:
            row.update({"state": "failed", "status": status, "log": log.read_text(encoding="utf-8", errors="replace")[-600:]})
        evaluations = {path.stem: json.loads(path.read_text(encoding="utf-8"))["score"] for path in out.glob("runs/*/evaluations/*.json")}
        shutil.rmtree(out, ignore_errors=True)
        return {**row, **({"evaluations": evaluations} if evaluations else {})}

    def environment(self):
        return {**os.environ, "HF_HOME": str(self.args.work / "hf"), "HF_HUB_CACHE": str(self.args.work / "hf" / "hub")}

    def work_through(self, plan):
        failed = 0
        for i, entry in enumerate(plan):
            base, recipe, method = entry
            later = [other[0] for other in plan[i + 1:]]
            if self.left() < 20:
                self.say(f"no time for {':'.join(entry)}")
                failed += 1
                continue
            self.begin_making(base)
            if base not in self.made:
                sys.exit(f"error: the disk below {self.args.work} has no room for {base}")
            try:
                seconds = self.made[base].result()
            except subprocess.CalledProcessError as error:
                self.say(f"{base} could not be made: random_model.py ended with {error.returncode}")
                failed += 1
                continue
            following = next((other for other in later if other != base), None)
            if following and self.left() > 60:
                self.begin_making(following, SPARE_GB)
            if not self.args.small and not self.wait_for_memory(self.args.full_gb if method == "full" else RUN_GB[base]):
                self.say(f"too little memory of the GPU is free for {':'.join(entry)}")
                failed += 1
                continue
            row = self.study(base, recipe, method)
            failed += row["state"] != "done"
            self.record({**row, "make_seconds": round(seconds, 1)})
            self.say(f"{':'.join(entry)} {row['state']}: {row.get('loss', row.get('log'))}, {row.get('peak_memory_gb')} GB, {row['seconds']} s")
            if base not in later:
                shutil.rmtree(self.folder_of(base), ignore_errors=True)
                del self.made[base]
        self.pool.shutdown()
        shutil.rmtree(self.args.work / "models", ignore_errors=True)
        return failed


def nvidia_smi(what):
    done = subprocess.run(["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits"], capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[0].strip()


def parsed(entry):
    base, recipe, method = (entry.split(":") + ["", ""])[:3]
    if base not in WEIGHTS_GB or recipe not in RECIPES or not method:
        sys.exit(f"error: '{entry}' is no BASE:RECIPE:METHOD (see --help)")
    return base, recipe, method


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", metavar="BASE:RECIPE:METHOD", nargs="*", help=f"default: {' '.join(PLAN)}")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "runs" / "recipes", help="default: runs/recipes")
    parser.add_argument("--out", type=pathlib.Path, help="JSONL; default: WORK/results.jsonl")
    parser.add_argument("--corda", default=ROOT / "build" / "cpu" / "bin" / "corda", type=pathlib.Path, help="default: build/cpu/bin/corda")
    parser.add_argument("--shared", default=ROOT / ".." / "shared", type=pathlib.Path, help="folder with data/datasets, for --prepare")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--limit", type=float, default=0, help="seconds after which no run is begun and the present one is ended")
    parser.add_argument("--each", type=float, default=0, help="seconds after which a run is ended, and the next one begun")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--samples", type=int, default=8, help="windows of a calibration")
    parser.add_argument("--evaluate", type=int, default=0, metavar="N", help="also run the recipe's evaluations, on N samples each")
    parser.add_argument("--full-micro-batch-tokens", type=int, default=2048)
    parser.add_argument("--full-gb", type=float, default=122, help="memory of the GPU that must be free for method full")
    parser.add_argument("--small", action="store_true", help="a rehearsal on tiny models")
    parser.add_argument("--prepare", action="store_true", help="only write WORK/hf")
    args = parser.parse_args()
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.prepare:
        prepare(args.shared / "data" / "datasets", args.work / "hf" / "hub")
        return
    args.out = (args.out or args.work / "results.jsonl").resolve()
    if not (args.work / "hf" / "hub").is_dir():
        sys.exit(f"error: there is no {args.work / 'hf' / 'hub'}; make it with --prepare")
    if not args.corda.exists():
        sys.exit(f"error: {args.corda} is not a program; run scripts/bootstrap.sh, or name one with --corda")
    rows = [json.loads(line) for line in args.out.read_text(encoding="utf-8").splitlines()] if args.out.exists() else []
    done = {(row["base"], row["recipe"], row["method"]) for row in rows if row["state"] == "done"}
    plan = [entry for entry in map(parsed, args.plan or PLAN) if entry not in done]
    sys.exit(bool(Beginnings(args).work_through(plan)))


if __name__ == "__main__":
    main()
