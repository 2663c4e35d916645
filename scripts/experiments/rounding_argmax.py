#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""At how many places of texts do models find another token the most likely than the first of them does? Transformers, fp32, CPU.

    scripts/experiments/rounding_argmax.py --data wikitext-2.test.txt --data gsm8k_test.jsonl MERGED-FP32 MERGED MERGED-INFORMED BASE

One JSON object a model and file on stdout. Plain text is read in windows of 512 tokens, JSONL as question, line break, answer.
"""

import argparse
import json

import torch
import transformers

WINDOW = 512


def pieces_of(path, tokenizer, tokens):
    """Lists of ids, until there are so many tokens."""
    pieces = []
    with open(path, encoding="utf-8") as file:
        if not path.endswith(".jsonl"):
            ids = tokenizer(file.read(20 * tokens))["input_ids"]
            return [ids[i:i + WINDOW] for i in range(0, tokens, WINDOW)]
        for line in file:
            record = json.loads(line)
            pieces.append(tokenizer(f"{record['question']}\n{record['answer']}")["input_ids"])
            if sum(map(len, pieces)) > tokens:
                break
    return pieces


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--tokens", type=int, default=4096, help="of a file")
    parser.add_argument("models", nargs="+")
    given = parser.parse_args()
    tokenizer = transformers.AutoTokenizer.from_pretrained(given.models[0])
    data = {path.rsplit("/", 1)[-1]: pieces_of(path, tokenizer, given.tokens) for path in given.data}
    first = {}
    for folder in given.models:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        for name, pieces in data.items():
            best, loss = [], 0.0
            with torch.no_grad():
                for ids in pieces:
                    logits = model(torch.tensor([ids])).logits[0]
                    best.append(logits.argmax(-1))
                    loss += torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="sum").item()
            best = torch.cat(best)
            differs = (best != first.setdefault(name, best)).sum().item()
            print(json.dumps({"model": folder.rstrip("/").rsplit("/", 1)[-1], "data": name, "other_argmax": differs, "places": len(best),
                              "loss": loss / (len(best) - len(pieces))}), flush=True)


if __name__ == "__main__":
    main()
