#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""Writes tests/golden/eval: what lm-evaluation-harness says of real models, item by item.

    eval_tasks.py MODELS DATASETS [CASE ...]     (with cases: prints them and writes nothing)

MODELS holds smollm2-135m and gemma3-270m, DATASETS the public files that the rows of tasks are made of (rows_of below, and
tests/eval/harness_rows.h alike). Needs lm_eval of VERSION beside the pinned packages. No text of a data set is written: prompts stand as hashes.
"""

import gzip
import hashlib
import importlib.metadata
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from golden import GOLDEN, write_json  # noqa: E402

VERSION = "0.4.13"
PEERS = ("lm_eval", "torch", "transformers", "tokenizers", "datasets")  # their versions are recorded
LETTERS = "ABCDEFGH"


def read(path):
    text = (gzip.open(path, "rt") if path.suffix == ".gz" else open(path)).read()
    return json.loads(text) if text.lstrip()[0] == "[" else [json.loads(line) for line in text.split("\n") if line]


def documents(datasets, name):
    """The documents of a file of requests, each once."""
    docs, last = [], None
    for request in read(datasets / "multiple_choice" / name):
        if request["doc_id"] != last:
            docs.append(request["doc"])
        last = request["doc_id"]
    return docs


def between(text, begin, end):
    assert text.startswith(begin) and text.endswith(end), text
    return text[len(begin):len(text) - len(end)]


def lettered(doc, key):
    options = doc["choices"]
    return {key: between(doc["query"], "Question: ", "\nAnswer:"),
            "choices": {"text": options, "label": list(LETTERS[:len(options)])}, "answerKey": LETTERS[doc["gold"]]}


def hellaswag(doc):
    label, text = doc["query"].split(": ", 1)
    cut = text.rfind(". ")
    ctx_a, ctx_b = (text[:cut + 1], text[cut + 2:]) if cut >= 0 else (text, "")
    return {"activity_label": label, "ctx_a": ctx_a, "ctx_b": ctx_b, "endings": doc["choices"], "label": str(doc["gold"])}


def boolq(doc):
    passage, question = doc["query"].rsplit("\nQuestion: ", 1)
    return {"passage": passage, "question": between(question, "", "?\nAnswer:"), "label": 1 if doc["choices"][doc["gold"]] == "yes" else 0}


def mmlu_question(text, subject, answer):
    question, *options = text.split("\n(")
    assert [o[:3] for o in options] == ["A) ", "B) ", "C) ", "D) "], text
    return {"question": question, "subject": subject, "choices": [o[3:] for o in options], "answer": answer}


def mmlu(datasets, split):
    """`test`: the questions asked; `dev`: those that were answered before the first of each subject."""
    root = json.loads(gzip.open(datasets / "multiple_choice/gemma_cpp_mmlu.json.gz", "rt").read())
    rows, seen = [], set()
    for sample in root["samples"]:
        subject = sample["topic"]
        if subject not in MMLU_SUBJECTS:
            continue
        # The question asked stands behind "Answer:" of those before it, so each part begins with its letter.
        parts = sample["prompt"].split("\n\nAnswer:")
        questions = [parts[0].split("\n\n", 1)[1]] + [p[4:] for p in parts[1:-1]]
        answers = [LETTERS.index(p[1]) for p in parts[1:-1]]
        if split == "test":
            rows.append(mmlu_question(questions[-1], subject, sample["input_label"]))
        elif subject not in seen:
            rows += [mmlu_question(q, subject, a) for q, a in zip(questions[:-1], answers)]
        seen.add(subject)
    return rows


MMLU_SUBJECTS = ("high_school_macroeconomics", "professional_law")


def pages(datasets):
    """Articles of wikitext: a title stands between single equals signs."""
    lines = gzip.open(datasets / "text/wikitext-2.test.txt.gz", "rt").read().split("\n")
    found = []
    for line in lines:
        if line.startswith(" = ") and not line.startswith(" = = "):
            found.append("")
        if found:
            found[-1] += line + "\n"
    found[-1] = found[-1][:-1]  # the last line break began no line
    return [{"page": page} for page in found]


def rows_of(datasets, task):
    """Rows of the public data sets, as far as a task reads them."""
    if task == "arc_easy":
        return [lettered(d, "question") for d in documents(datasets, "arc_easy.rc_0shot.requests.jsonl.gz")]
    if task == "arc_challenge":
        return [lettered(d, "question") for d in documents(datasets, "arc_challenge.rc_0shot.requests.jsonl.gz")]
    if task == "openbookqa":
        return [lettered(d, "question_stem") for d in documents(datasets, "openbookqa.rc_0shot.requests.jsonl.gz")]
    if task == "hellaswag":
        return [hellaswag(d) for d in documents(datasets, "hellaswag.rc_5shot.requests.jsonl.gz")]
    if task == "boolq":
        return [boolq(d) for d in documents(datasets, "boolq.rc_5shot.requests.jsonl.gz")]
    if task == "piqa":
        return [{k: d[k] for k in ("goal", "sol1", "sol2", "label")} for d in documents(datasets, "piqa.rc_0shot.requests.jsonl.gz")]
    if task == "sciq":
        return [{k: d[k] for k in ("question", "distractor1", "distractor2", "distractor3", "correct_answer", "support")}
                for d in documents(datasets, "sciq.rc_0shot.requests.jsonl.gz")]
    if task == "winogrande":
        return [{k: d[k] for k in ("sentence", "option1", "option2", "answer")} for d in documents(datasets, "winogrande.rc_0shot.requests.jsonl.gz")]
    if task == "mmlu":
        return mmlu(datasets, "test")
    if task == "triviaqa":
        return [{"question": d["question"], "answer": {"aliases": d["answer"]}} for d in read(datasets / "triviaqa/triviaqa.dev.jsonl.gz")]
    if task == "nq_open":
        return read(datasets / "nq_open/NQ-open.dev.jsonl.gz")
    if task == "webqs":
        return [{"question": d["qText"], "answers": d["answers"]} for d in read(datasets / "webquestions/test.json.gz")]
    if task == "gsm8k":
        return read(datasets / "gsm8k/test.jsonl.gz")
    if task == "wikitext":
        return pages(datasets)
    raise SystemExit(task)


# name: (model, task, first row, rows, shots, rows of the pool behind those, max_length or None)
CASES = {
    "arc_easy": ("smollm2-135m", "arc_easy", 0, 10, 0, 0, None),
    "arc_easy_3shot": ("smollm2-135m", "arc_easy", 0, 4, 3, 100, None),
    "arc_challenge": ("smollm2-135m", "arc_challenge", 0, 10, 0, 0, None),
    "hellaswag": ("smollm2-135m", "hellaswag", 0, 8, 0, 0, None),
    "hellaswag_2shot": ("smollm2-135m", "hellaswag", 0, 3, 2, 60, None),
    "piqa": ("smollm2-135m", "piqa", 0, 10, 0, 0, None),
    "boolq": ("smollm2-135m", "boolq", 0, 6, 0, 0, None),
    "boolq_2shot": ("smollm2-135m", "boolq", 0, 3, 2, 40, None),
    "winogrande": ("smollm2-135m", "winogrande", 0, 12, 0, 0, None),
    "winogrande_3shot": ("smollm2-135m", "winogrande", 0, 4, 3, 300, None),
    "openbookqa": ("smollm2-135m", "openbookqa", 0, 10, 0, 0, None),
    "sciq": ("smollm2-135m", "sciq", 0, 8, 0, 0, None),
    "mmlu": ("smollm2-135m", "mmlu", 0, 13, 0, 0, None),
    "mmlu_5shot": ("smollm2-135m", "mmlu", 0, 4, 5, -1, None),
    "webqs": ("smollm2-135m", "webqs", 0, 16, 0, 0, None),
    "triviaqa": ("smollm2-135m", "triviaqa", 0, 12, 0, 0, None),
    "triviaqa_5shot": ("smollm2-135m", "triviaqa", 0, 10, 5, 500, None),
    "nq_open": ("smollm2-135m", "nq_open", 0, 8, 0, 0, None),
    "nq_open_5shot": ("smollm2-135m", "nq_open", 0, 10, 5, 3000, None),
    "gsm8k": ("smollm2-135m", "gsm8k", 0, 4, 5, 1000, None),
    "wikitext": ("smollm2-135m", "wikitext", 0, 2, 0, 0, 512),
    "gemma_arc_easy": ("gemma3-270m", "arc_easy", 0, 4, 0, 0, None),
    "gemma_nq_open": ("gemma3-270m", "nq_open", 0, 3, 0, 0, None),
    "gemma_wikitext": ("gemma3-270m", "wikitext", 1, 1, 0, 0, 512),
}


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def harness_model(folder, max_length=None):
    from lm_eval.models.huggingface import HFLM
    return HFLM(pretrained=str(folder), dtype="float32", device="cpu", batch_size=1, max_length=max_length, attn_implementation="sdpa")


def measured(lm, tasks, asked_of, shown_of, shots):
    """The harness's results and samples of its `tasks`, over the rows that are asked and shown in one with that name of a data set."""
    import datasets as hf
    import torch
    from lm_eval import simple_evaluate
    from lm_eval.api.task import ConfigurableTask

    def download(self, kwargs=None, **_):
        mine = asked_of(self.config.dataset_name)
        splits = {s: hf.Dataset.from_list(mine) for s in ("validation", "test")}
        splits |= {s: hf.Dataset.from_list(shown_of(self.config.dataset_name) or mine) for s in ("train", "dev")}
        self.dataset = hf.DatasetDict(splits)

    ConfigurableTask.download = download
    with torch.no_grad():
        result = simple_evaluate(lm, tasks=tasks, num_fewshot=shots, log_samples=True, bootstrap_iters=2)
    return result["results"], [s for t in tasks for s in result["samples"][t]]


def run(models, datasets, name):
    model, task, first, count, shots, pool, max_length = CASES[name]
    rows = rows_of(datasets, task)
    asked = rows[first:first + count]
    shown = mmlu(datasets, "dev") if task == "mmlu" else rows[first + count:first + count + pool]

    def of(rows):
        return lambda subject: [r for r in rows if task != "mmlu" or r["subject"] == subject]

    subjects = [s for s in MMLU_SUBJECTS if any(r.get("subject") == s for r in asked)]
    tasks = [f"mmlu_{s}" for s in subjects] if task == "mmlu" else [task]
    results, samples = measured(harness_model(models / model, max_length), tasks, of(asked), of(shown), shots)
    print(name, {t: results[t] for t in tasks}, flush=True)
    case = {"model": model, "task": task, "first": first, "rows": count, "shots": shots, "pool": pool, "max_length": max_length or 0}
    case["metrics"] = {k: v for k, v in results[tasks[0]].items() if isinstance(v, float)} if len(tasks) == 1 else {}
    case["items"] = [item_of(sample, task) for sample in samples]
    if task == "mmlu":  # in the order of the rows, not of the subjects
        order = [r for s in subjects for r in asked if r["subject"] == s]
        case["items"] = [case["items"][next(i for i, o in enumerate(order) if o is r)] for r in asked]
    return case


def item_of(sample, task):
    arguments = [a for a in sample["arguments"]]
    metrics = {k: float(sample[k]) for k in ("acc", "acc_norm", "exact_match") if k in sample}
    if task == "wikitext":
        ll, words = sample["word_perplexity"]
        return {"prompt": sha(arguments[0][0]), "ll": [float(ll)], "words": words, "bytes": sample["byte_perplexity"][1]}
    if isinstance(arguments[0][1], dict):
        return {"prompt": sha(arguments[0][0]), "answer": sha(sample["resps"][0][0]), "filter": sample["filter"],
                "filtered": sample["filtered_resps"][0], **metrics}
    return {"prompt": sha("\0".join(a[0] + "\0" + a[1] for a in arguments)), "ll": [float(r[0][0]) for r in sample["resps"]],
            "greedy": [str(r[0][1]) == "True" for r in sample["resps"]], **metrics}


def main():
    models, datasets = Path(sys.argv[1]), Path(sys.argv[2])
    found = importlib.metadata.version("lm_eval")
    if found != VERSION:
        raise SystemExit(f"lm_eval {VERSION} is wanted; found {found}")
    if len(sys.argv) > 3:
        for name in sys.argv[3:]:
            print(json.dumps(run(models, datasets, name), indent=1))
        return
    folder = GOLDEN / "eval"
    folder.mkdir(parents=True, exist_ok=True)
    for name in CASES:
        write_json(folder / f"{name}.json", run(models, datasets, name))
    names = [f"{name}.json" for name in sorted(CASES)]
    write_json(folder / "manifest.json", {
        "command": "python scripts/golden/eval_tasks.py MODELS DATASETS",
        "versions": {peer: importlib.metadata.version(peer) for peer in PEERS},
        "files": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}})


if __name__ == "__main__":
    main()
