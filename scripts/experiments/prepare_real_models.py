#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prepares the data of real_models.py: what a model should keep, what it should learn, and texts that judge it.

From SHARED/data/datasets it writes to OUT
  knowledge_calibration.jsonl   TriviaQA's dev questions with their answers
  knowledge_test.jsonl          1000 of its test questions
  prompts.jsonl                 20 more of them, for greedy answers
  text_calibration.jsonl        wikitext-2's validation text, every second document of C4
  wikitext2_test.txt            wikitext-2's test text
  c4_test.jsonl                 the other documents of C4
  gsm8k_train.jsonl             second half of GSM8K's training file
  gsm8k_test.jsonl              GSM8K's test file
  shakespeare_train.txt         nine tenths of tinyshakespeare
  shakespeare_test.txt          the last tenth
  code_train.jsonl              code instructions and MBPP's functions
  code_test.jsonl               every tenth of these
"""
import argparse
import pathlib
import random
import sys

from prepare_nano_qa import questions, read, read_text, usable, write, write_gsm8k


def unquoted(question):
    """A question that is still quoted as CSV quotes it, as it was asked."""
    if len(question) > 1 and question[0] == question[-1] == '"' and '""' in question:
        return question[1:-1].replace('""', '"')
    return question


def common_first(answers):
    """TriviaQA's aliases, with the one first that most others contain: 'Mona Lisa' before 'La Joconde' and 'Mona Lisa (painting)'."""
    spoken = [a for a in answers if not set(a) & set("()") and not (a.isupper() and len(a) > 4)]
    if not spoken:
        return []
    first = max(spoken, key=lambda a: sum(f" {a} ".lower() in f" {other} ".lower() for other in answers))
    return [first, *(a for a in answers if a != first)]


def code(datasets):
    """Code instructions and MBPP, as instruction and answer; every tenth judges."""
    rows = []
    for r in read(datasets / "instruct" / "gpteacher-codegen-instruct.json.gz"):
        rows.append((r["instruction"] + ("\n" + r["input"] if r.get("input") else ""), r["response"]))
    rows += [(r["text"], r["code"].replace("\r\n", "\n")) for r in read(datasets / "code" / "mbpp.jsonl.gz")]
    random.Random(3).shuffle(rows)
    return [row for i, row in enumerate(rows) if i % 10][:3737], rows[::10]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=pathlib.Path, required=True, help="folder with data/datasets")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--test-questions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    datasets = args.shared / "data" / "datasets"
    if not datasets.is_dir():
        sys.exit(f"error: there is no folder {datasets}")
    args.out.mkdir(parents=True, exist_ok=True)

    def trivia(name):
        rows = [questions(row) for row in read(datasets / "triviaqa" / f"triviaqa.{name}.jsonl.gz")]
        rows = [(unquoted(q), common_first(a)) for q, a in rows]
        return [{"question": q, "answer": a} for q, a in rows if usable(q, a)]

    write(args.out / "knowledge_calibration.jsonl", trivia("dev"))
    test = random.Random(args.seed).sample(trivia("test"), args.test_questions + 20)
    write(args.out / "prompts.jsonl", test[args.test_questions:])
    write(args.out / "knowledge_test.jsonl", test[:args.test_questions])

    c4 = [{"text": row["text"]} for row in read(datasets / "text" / "c4_demo.jsonl.gz")]
    valid = {"text": read_text(datasets / "text" / "wikitext-2.valid.txt.gz")}
    write(args.out / "text_calibration.jsonl", [valid, *c4[0::2]])
    write(args.out / "c4_test.jsonl", c4[1::2])
    (args.out / "wikitext2_test.txt").write_text(read_text(datasets / "text" / "wikitext-2.test.txt.gz"), encoding="utf-8")
    play = read_text(datasets / "text" / "tinyshakespeare.txt.gz")
    cut = len(play) * 9 // 10
    (args.out / "shakespeare_train.txt").write_text(play[:cut], encoding="utf-8")
    (args.out / "shakespeare_test.txt").write_text(play[cut:], encoding="utf-8")
    write_gsm8k(datasets, args.out)
    # Last: their presence says that all the others are there.
    for name, rows in zip(("train", "test"), code(datasets)):
        write(args.out / f"code_{name}.jsonl", [{"instruction": prompt, "output": answer} for prompt, answer in rows])


if __name__ == "__main__":
    main()
