#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times every verb of corda on a random-weight model of a Llama's shape, on one GPU.

    scripts/bench/llama_shape.py --corda build/cpu/bin/corda --work runs/bench [--shape 7b] [--device cuda]

Needs Python with torch to write the model. Prints one Markdown table; figures come from the program's own
JSON results (wall time of the verb, peak of the GPU allocator) and metrics.jsonl (median over the steps after the third).
"""
import argparse
import json
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import random_model  # noqa: E402

SHAPES = {  # hidden, intermediate, layers, heads, key/value heads, vocabulary
    "7b": (4096, 11008, 32, 32, 32, 32000), "13b": (5120, 13824, 40, 40, 40, 32000), "1b": (2048, 8192, 16, 32, 8, 128256),
    "tiny": (64, 172, 2, 4, 4, 4096)}
TRAIN = [("4 x 2048", 4, 2048), ("8 x 512", 8, 512), ("1 x 2048", 1, 2048)]


def write_model(folder, shape, tokenizer):
    """Random weights of a shape: a value of SHAPES."""
    hidden, inner, layers, heads, kv_heads, vocab = shape
    random_model.write(folder, {**random_model.LLAMA, "vocab_size": vocab, "hidden_size": hidden, "intermediate_size": inner,
                                "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv_heads,
                                "max_position_embeddings": 4096}, tokenizer)


def write_text(path, megabytes, seed=1):
    words = random.Random(seed)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    lexicon = ["".join(words.choices(syllables, k=words.randint(1, 4))) for _ in range(5000)]
    with open(path, "w") as file:
        for _ in range(megabytes * 1200):
            file.write(" ".join(words.choices(lexicon, k=120)) + ".\n")


class Bench:
    def __init__(self, args):
        self.args, self.rows = args, []

    def call(self, label, *arguments):
        begin = time.perf_counter()
        done = subprocess.run([self.args.corda, *map(str, arguments), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        seconds = time.perf_counter() - begin
        if done.returncode != 0:
            print(f"{label}: FAILED with {done.returncode}: {done.stderr[-600:]}", flush=True)
            return None
        result = json.loads(done.stdout)
        memory = result.get("peak_memory_bytes")
        self.row(label, f"{seconds:.1f} s", f"{memory / 1e9:.1f} GB" if memory else "")
        return result

    def row(self, label, value, memory):
        self.rows.append((label, value, memory))
        print(f"{label}: {value} {memory}", flush=True)

    def train(self, label, samples, length, method, adapter=None, extra=()):
        run = self.args.work / f"run-{len(self.rows)}"
        shutil.rmtree(run, ignore_errors=True)
        config = [f"model={self.args.work / 'model'}", f"method={method}", f"data.train=[{{path: {self.args.work / 'text.txt'}, format: text}}]",
                  f"data.max_length={length}", f"optim.batch_size={samples}", f"optim.micro_batch_tokens={samples * length}",
                  f"optim.max_steps={self.args.steps}", f"lora.rank={self.args.rank}", f"device={self.args.device}", f"out={run}", *extra]
        if adapter:
            config.append(f"adapter={adapter}")
        arguments = [part for item in config for part in ("--set", item)]
        done = subprocess.run([self.args.corda, "train", *arguments, "--quiet"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            print(f"{label}: FAILED with {done.returncode}: {done.stderr[-600:]}", flush=True)
            return
        metrics = [json.loads(line) for line in open(run / "metrics.jsonl")]
        speed = statistics.median(m["tokens_per_second"] for m in metrics[3:])
        self.row(label, f"{speed:.0f} tok/s", f"{max(m['peak_memory_bytes'] for m in metrics) / 1e9:.1f} GB")
        shutil.rmtree(run)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corda", required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--shape", choices=SHAPES, default="7b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--seq-len", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--only", default="calibrate,decompose,train")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    work, device = args.work, ["--device", args.device]
    if not (work / "model").exists():
        root = pathlib.Path(__file__).resolve().parents[2]
        write_model(work / "model", SHAPES[args.shape], root / "scripts" / "demo" / "model")
        write_text(work / "text.txt", 4)
    bench = Bench(args)
    if "calibrate" in args.only:
        bench.call(f"calibrate {args.samples} x {args.seq_len}", "calibrate", "--model", work / "model", "--data", work / "text.txt", "--samples",
                   args.samples, "--seq-len", args.seq_len, "--out", work / "cov", *device)
    if "decompose" in args.only:
        for mode in ("ipa", "kpa", "dual"):
            task = ["--task-covariance", work / "cov"] if mode == "dual" else []
            bench.call(f"decompose {mode}, rank {args.rank}, from disk", "decompose", "--model", work / "model", "--covariance", work / "cov", *task,
                       "--mode", mode, "--rank", args.rank, "--out", work / f"adapter-{mode}", *device)
    if "train" in args.only:
        for label, samples, length in TRAIN:
            bench.train(f"train LoRA, {label}", samples, length, "lora")
        if (work / "adapter-dual").exists():
            bench.train("train dual (A frozen), 4 x 2048", 4, 2048, "corda", adapter=work / "adapter-dual")
    print("\n| work | result | peak GPU memory |\n|---|---:|---:|")
    for label, value, memory in bench.rows:
        print(f"| {label} | {value} | {memory} |")


if __name__ == "__main__":
    sys.exit(main())
