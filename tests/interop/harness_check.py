#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""The harness on a model that corda merged gives what corda gives.

    tests/interop/harness_check.py --corda build/ci/bin/corda --model FOLDER --work FOLDER

Needs torch, transformers, peft and lm_eval. Makes a LoRA of random weights, merges it with corda, and asks made-up questions of multiple choice of
the merged model, through corda and through the harness, in fp32; of base and adapter through corda as well. Exit code 1 where log-likelihoods
of the merged model differ by more than 1e-4 of their size, or a score by anything."""

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path

WORDS = ("river bridge winter the of and to stone keeper market road letter house seven under old green walk carry open answer question "
         "because before water light every north harbour small garden never always between morning").split()


def write_adapter(model, out):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM
    torch.manual_seed(3)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    peft = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, tensor in peft.named_parameters():
            if "lora_B" in name:
                tensor.normal_(std=0.02)
    peft.save_pretrained(out)


def write_questions(path, count):
    source = random.Random(11)
    say = lambda low, high: " ".join(source.choice(WORDS) for _ in range(source.randint(low, high)))  # noqa: E731
    rows = [{"question": say(10, 60) + "?", "choices": [say(1, 8) for _ in range(4)], "answer": source.randrange(4)} for _ in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def evaluate(args, kept, *model):
    subprocess.run([args.corda, "eval", "--task", "multiple-choice", "--data", args.work / "questions.jsonl", "--dtype", "fp32", "--device", "cpu",
                    "--predictions", kept, "--quiet", *model], check=True)
    return [json.loads(line) for line in kept.read_text().splitlines()]


def harness(folder, rows):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    lm = HFLM(pretrained=str(folder), dtype="float32", device="cpu", batch_size=4)
    requests = [Instance(request_type="loglikelihood", doc={}, arguments=(f"Question: {row['question']}\nAnswer:", " " + choice), idx=i)
                for row in rows for i, choice in enumerate(row["choices"])]
    values = [value for value, _ in lm.loglikelihood(requests, disable_tqdm=True)]
    return [values[i:i + 4] for i in range(0, len(values), 4)]


def chosen(values):
    return max(range(len(values)), key=lambda i: (values[i], -i))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corda", required=True, type=Path)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--questions", type=int, default=12)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    adapter, merged = args.work / "adapter", args.work / "merged"
    write_adapter(args.model, adapter)
    subprocess.run([args.corda, "merge", "--model", args.model, "--adapter", adapter, "--out", merged, "--quiet"], check=True)
    rows = write_questions(args.work / "questions.jsonl", args.questions)
    whole = evaluate(args, args.work / "merged.jsonl", "--model", merged)
    folded = evaluate(args, args.work / "folded.jsonl", "--model", args.model, "--adapter", adapter)
    expected = harness(merged, rows)
    worst, wrong, moved = 0.0, 0, 0
    for row, mine, fold, theirs in zip(rows, whole, folded, expected, strict=True):
        values = mine["log_likelihoods"]
        worst = max(worst, *(abs(a - b) / max(1, abs(b)) for a, b in zip(values, theirs, strict=True)))
        wrong += mine["scores"]["acc"] != float(chosen(theirs) == row["answer"])
        moved += mine["scores"]["acc"] != fold["scores"]["acc"]
    print(f"{len(rows)} questions: log-likelihoods differ by at most {worst:.1e} of their size, {wrong} scores differ; "
          f"base and adapter give another score than the merged model, whose weights are rounded, {moved} times")
    return 1 if worst > 1e-4 or wrong > 0 else 0


if __name__ == "__main__":
    sys.exit(main())
