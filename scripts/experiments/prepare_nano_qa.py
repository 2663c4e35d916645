#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prepares the data of the nano-qa experiment: questions the base model can answer, and the new task.

From SHARED/data/datasets it writes to OUT
  trivia.jsonl nq_dpr.jsonl nq_dev.jsonl webq.jsonl   question, answer (a list): all usable questions of a set
  knowledge.jsonl                                     600 of each set, the closed-book test
  gsm8k_train.jsonl                                   second half of GSM8K's training file
  wikitext2.txt c4.txt                                the texts by which dual_ideas.py judges too
  gsm8k_test.jsonl                                    GSM8K's test file
"""
import argparse
import gzip
import json
import pathlib
import random
import sys

SETS = {"trivia": ["triviaqa/triviaqa.dev.jsonl.gz"], "nq_dpr": ["nq_open/NQ-open.dpr-dev.jsonl.gz"],
        "nq_dev": ["nq_open/NQ-open.dev.jsonl.gz"],
        "webq": ["webquestions/trainmodel.json.gz", "webquestions/devtest.json", "webquestions/test.json.gz"]}


def read_text(path):
    """A file's text, gzipped or not."""
    for candidate in (path, path.with_suffix("") if path.suffix == ".gz" else path.with_name(path.name + ".gz")):
        if candidate.exists():
            with (gzip.open if candidate.suffix == ".gz" else open)(candidate, "rt", encoding="utf-8") as file:
                return file.read()
    sys.exit(f"error: there is no {path}")


def read(path):
    """Rows of a .jsonl or .json file, gzipped or not."""
    text = read_text(path)
    if ".jsonl" in path.name:
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    return json.loads(text)


def questions(row):
    if "qText" in row:
        return row["qText"], row["answers"]
    return row["question"].strip(), list(row["answer"])


def usable(question, answers):
    return bool(answers) and len(answers[0]) < 40 and len(question) < 200


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{path}: {len(rows)} lines", file=sys.stderr)


def write_gsm8k(datasets, out):
    train = read(datasets / "gsm8k" / "train.jsonl.gz")
    write(out / "gsm8k_train.jsonl", train[len(train) // 2:])
    write(out / "gsm8k_test.jsonl", read(datasets / "gsm8k" / "test.jsonl.gz"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=pathlib.Path, required=True, help="folder with data/datasets")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--test-questions", type=int, default=600, help="of each set")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    datasets = args.shared / "data" / "datasets"
    if not datasets.is_dir():
        sys.exit(f"error: there is no folder {datasets}")
    args.out.mkdir(parents=True, exist_ok=True)
    test = []
    for name, files in SETS.items():
        rows = [questions(row) for file in files for row in read(datasets / file)]
        rows = [{"question": q, "answer": a} for q, a in rows if usable(q, a)]
        write(args.out / f"{name}.jsonl", rows)
        test += random.Random(args.seed).sample(rows, args.test_questions)
    write(args.out / "knowledge.jsonl", test)
    texts = {"wikitext2": read_text(datasets / "text" / "wikitext-2.test.txt.gz"),
             "c4": "\n".join(row["text"] for row in read(datasets / "text" / "c4_demo.jsonl.gz"))}
    for name, text in texts.items():
        (args.out / f"{name}.txt").write_text(text[:300000], encoding="utf-8")
    write_gsm8k(datasets, args.out)


if __name__ == "__main__":
    main()
