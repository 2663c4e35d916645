#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Scoring and generation of corda beside lm-evaluation-harness, transformers' generate and vLLM, in one call on one machine.

    scripts/bench/eval.py --corda build/cpu/bin/corda --work runs/bench-eval --shape 7b --tokenizer scripts/demo/model
    scripts/bench/eval.py --corda build/cpu/bin/corda --work runs/bench-eval --model FOLDER --device cpu --dtype fp32 --items 8 --prompts 6 --new-tokens 16

Every program gets the same model folder and the same items: multiple choice with four choices behind a context that they share, and
prompts of mixed lengths to be continued. Peers run at each batch size of --batches and count with their best. Loading is left out
of every time. A peer that is not done in its time counts with how many batches it had done. Needs torch and transformers, lm_eval for the harness, vllm for vLLM (left out where it is absent). Prints a Markdown
table and how far the log-likelihoods lie apart; OUT.jsonl has every figure.
"""
import argparse
import importlib.util
import json
import pathlib
import random
import subprocess
import sys
import time

import llama_shape

WORDS = ("river bridge winter the of and to stone keeper market road letter house seven under old green walk carry open answer question "
         "because before water light every north harbour small garden never always between morning").split()


def text(source, words):
    return " ".join(source.choice(WORDS) for _ in range(words))


def make_items(work, items, prompts, seed=7):
    """Files for the tasks multiple-choice and qa."""
    source = random.Random(seed)
    choices = [{"question": text(source, source.randint(60, 240)) + "?", "choices": [text(source, source.randint(3, 14)) for _ in range(4)],
                "answer": source.randrange(4)} for _ in range(items)]
    questions = [{"question": text(source, source.randint(20, 300)) + "?", "answer": "x"} for _ in range(prompts)]
    for name, rows in (("choices.jsonl", choices), ("prompts.jsonl", questions)):
        (work / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def prompt_of(row):
    return f"Question: {row['question']}\nAnswer:"


def corda(args, task, data, *flags):
    kept = args.work / f"{task}.jsonl"
    command = [args.corda, "eval", "--model", args.model, "--task", task, "--data", data, "--device", args.device, "--dtype", args.dtype,
               "--predictions", kept, "--json", "--quiet", *flags]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"corda failed: {done.stderr[-600:]}")
    return json.loads(done.stdout)["seconds"], rows_of(kept)


def peer_dtype(args):
    import torch
    return torch.float32 if args.dtype == "fp32" else torch.bfloat16


def synchronized(device):
    import torch
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def harness(args, batch):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    lm = HFLM(pretrained=str(args.model), dtype=peer_dtype(args), device=args.device, batch_size=batch)
    requests = [Instance(request_type="loglikelihood", doc={}, arguments=(prompt_of(row), " " + choice), idx=i)
                for row in rows_of(args.work / "choices.jsonl") for i, choice in enumerate(row["choices"])]
    lm.loglikelihood(requests[:4], disable_tqdm=True)  # kernels are chosen once
    begin = synchronized(args.device)
    found = lm.loglikelihood(requests, disable_tqdm=True)
    return {"seconds": synchronized(args.device) - begin, "values": [float(value) for value, _ in found]}


def generate(args, batch):
    import torch
    import transformers
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=peer_dtype(args)).to(args.device).eval()
    prompts = sorted((prompt_of(row) for row in rows_of(args.work / "prompts.jsonl")), key=len)  # by length, as its users do

    def go(part):
        inputs = tokenizer(part, return_tensors="pt", padding=True, return_token_type_ids=False).to(args.device)
        return model.generate(**inputs, max_new_tokens=args.new_tokens, do_sample=False)

    with torch.no_grad():
        go(prompts[:1])
        begin = synchronized(args.device)
        for i in range(0, len(prompts), batch):
            go(prompts[i:i + batch])
            print(json.dumps({"part": synchronized(args.device) - begin, "prompts": min(i + batch, len(prompts))}), flush=True)
    return {"seconds": synchronized(args.device) - begin}


def vllm(args, _batch):
    from vllm import LLM, SamplingParams
    prompts = [prompt_of(row) for row in rows_of(args.work / "prompts.jsonl")]
    model = LLM(str(args.model), dtype="float32" if args.dtype == "fp32" else "bfloat16", enable_prefix_caching=False)
    sampling = SamplingParams(temperature=0, max_tokens=args.new_tokens)
    model.generate(prompts[:1], sampling, use_tqdm=False)
    begin = time.perf_counter()
    model.generate(prompts, sampling, use_tqdm=False)
    return {"seconds": time.perf_counter() - begin}


PEERS = {"harness": ("multiple-choice", harness, "lm_eval"), "transformers": ("generate", generate, "transformers"),
         "vllm": ("generate", vllm, "vllm")}


def run_peer(args, name, batch):
    """In a process of its own; None where it fails (memory, mostly)."""
    command = [sys.executable, __file__, *sys.argv[1:], "--model", str(args.model), "--peer", name, "--peer-batch", str(batch)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=args.timeout)
    except subprocess.TimeoutExpired as late:
        parts = [line for line in (late.stdout or b"").decode().splitlines() if line.startswith('{"part"')]
        print(f"{name} at {batch}: not done after {args.timeout} s; {parts[-1] if parts else 'no batch done'}", file=sys.stderr)
        return None
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"seconds"')]
    if done.returncode != 0 or not lines:
        print(f"{name} at {batch} failed: {done.stderr[-300:]}", file=sys.stderr)
        return None
    return json.loads(lines[-1])


def keep(args, records):
    if args.out:
        args.out.write_text("".join(json.dumps(record) + "\n" for record in records))


def peers(args, records, ours):
    for name in args.peers.split(","):
        work, _, package = PEERS[name]
        if work not in args.tasks:
            continue
        if importlib.util.find_spec(package) is None:
            print(f"{name}: not installed", file=sys.stderr)
            continue
        for batch in [0] if name == "vllm" else args.batches:
            found = run_peer(args, name, batch)
            if found is None:
                continue
            if "values" in found:
                flat = [value for row in ours for value in row["log_likelihoods"]]
                differences = [abs(a - b) / max(1, abs(b)) for a, b in zip(flat, found.pop("values"), strict=True)]
                found["largest_difference"] = max(differences)
            records.append({"work": work, "program": name, "batch": batch, **found})
            keep(args, records)
            print(json.dumps(records[-1]), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corda", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, help="a model folder, in place of --shape")
    parser.add_argument("--shape", choices=sorted(llama_shape.SHAPES), default="7b")
    parser.add_argument("--tokenizer", type=pathlib.Path, default=pathlib.Path("scripts/demo/model"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bf16", choices=["bf16", "fp32"])
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--batches", type=lambda v: [int(x) for x in v.split(",")], default=[8, 16, 32, 64, 128])
    parser.add_argument("--batch-tokens", type=int, default=16384, help="of corda")
    parser.add_argument("--peers", default="harness,transformers,vllm")
    parser.add_argument("--tasks", type=lambda v: v.split(","), default=["multiple-choice", "generate"])
    parser.add_argument("--timeout", type=int, default=400, help="seconds for one peer at one batch size")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--peer", help=argparse.SUPPRESS)  # the child process
    parser.add_argument("--peer-batch", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        print(json.dumps(PEERS[args.peer][1](args, args.peer_batch)), flush=True)
        return
    args.work.mkdir(parents=True, exist_ok=True)
    if args.model is None:
        args.model = args.work / "model"
        if not args.model.exists():
            llama_shape.write_model(args.model, llama_shape.SHAPES[args.shape], args.tokenizer)
    make_items(args.work, args.items, args.prompts)
    records = []
    flags = ["--batch-tokens", args.batch_tokens]
    scored = []
    if "multiple-choice" in args.tasks:
        seconds, scored = corda(args, "multiple-choice", args.work / "choices.jsonl", *flags)
        records.append({"work": "multiple-choice", "program": "corda", "seconds": seconds})
    if "generate" in args.tasks:
        seconds, _ = corda(args, "qa", args.work / "prompts.jsonl", "--max-new-tokens", args.new_tokens, *flags)
        records.append({"work": "generate", "program": "corda", "seconds": seconds})
    for record in records:
        print(json.dumps(record), flush=True)
    keep(args, records)
    peers(args, records, scored)
    counts = {"multiple-choice": f"{args.items} items of 4 choices", "generate": f"{args.prompts} prompts, {args.new_tokens} new tokens each"}
    print("\n| work | program | seconds | corda is so many times as fast |\n|---|---|---:|---:|")
    for work, count in counts.items():
        if work not in args.tasks:
            continue
        mine = next(r["seconds"] for r in records if r["work"] == work and r["program"] == "corda")
        for program in dict.fromkeys(r["program"] for r in records if r["work"] == work):
            best = min((r for r in records if r["work"] == work and r["program"] == program), key=lambda r: r["seconds"])
            label = program + (f", batch {best['batch']}" if best.get("batch") else "")
            print(f"| {count} | {label} | {best['seconds']:.2f} | {best['seconds'] / mine:.2f} |")
    apart = [r["largest_difference"] for r in records if "largest_difference" in r]
    if apart:
        print(f"\nLog-likelihoods of corda and the harness differ by at most {max(apart):.1e} of their size.")


if __name__ == "__main__":
    main()
