#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The whole job on real models: do corda and transformers agree, and what is learned and kept.

    scripts/experiments/real_models.py [option ...] MODEL ...

MODEL is a Hugging Face folder. For each: its losses and greedy answers beside those of transformers; then calibrate, decompose, train on
GSM8K, merge --verify, evaluate the merged model. What is finished is skipped, so the command can be repeated; a model or run that fails
stops no other. WORK gets a folder a model, results.jsonl and table.md. Figures come out in WORK/MODEL/logs with their commands.
"""
import argparse
import concurrent.futures
import datetime
import fnmatch
import json
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

from experiment import TASK, Clock, Corda, Failed, in_parallel, preparations, take_up, write_whole
from real_models_table import tables

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
RATES = {"lora": ["4e-4", "1e-3"], "kpa": ["4e-4", "1e-3"], "ipa": ["1e-4", "4e-4"], "dual": ["1e-3", "4e-3"], "dual-decay": ["2e-3", "8e-3"]}
# Of methods that are another one with settings of their own: that one, and those. docs/dual.md recommends dual so.
VARIANTS = {"dual-decay": ("dual", {"optim.decay_total": "1"})}
CALIBRATIONS = {
    "answers": ["--data", "data/knowledge_calibration.jsonl", "--format", "qa", "--qa-text", "question-answer"],
    "text": ["--data", "data/text_calibration.jsonl", "--format", "text"],
    "task": ["--data", "data/gsm8k_train.jsonl", *TASK, "--template", "alpaca"],
}
KNOWLEDGE = ["--covariance", "covariance/answers", "--covariance", "covariance/text"]
DECOMPOSITIONS = {
    "kpa": ["--mode", "kpa", *KNOWLEDGE],
    "ipa": ["--mode", "ipa", "--covariance", "covariance/task"],
    "dual": ["--mode", "dual", *KNOWLEDGE, "--task-covariance", "covariance/task"],
}
STEPS = "reference,compare,train"
SMALL_STEPS = {"optim.max_steps": 2, "optim.batch_size": 4, "data.max_length": 256}
TOLERANCE = {"fp32": 1e-4, "bf16": 2e-3}  # of a perplexity, relative


class Model:
    """One model's folder in WORK, and its program."""

    def __init__(self, folder, args):
        self.name, self.folder, self.work = folder.name, folder.resolve(), args.work / folder.name
        self.corda = Corda(args.corda, self.work, args.device, args.jobs)
        self.failed = False

    def link(self, data):
        """The names that commands and settings use."""
        self.work.mkdir(parents=True, exist_ok=True)
        for name, target in (("model", self.folder), ("data", data.resolve())):
            link = self.work / name
            if link.is_symlink():
                link.unlink()
            link.symlink_to(target)

    def is_done(self, path):
        return (self.work / path).exists()


class Experiment:
    def __init__(self, args, models, known):
        self.known = known
        self.args, self.models, self.clock, self.lock = args, models, Clock(args.limit), threading.Lock()
        self.machine = {"card": card(args.device), "date": datetime.date.today().isoformat(), **versions(args.corda)}
        self.small = ["--samples", "4"] if args.small else []

    # What transformers says.

    def reference(self, model, dtype):
        out = model.work / f"reference-{dtype}.json"
        if out.exists():
            return
        log = model.work / "logs" / f"reference-{dtype}.txt"
        log.parent.mkdir(exist_ok=True)
        command = [self.args.python, HERE / "real_models_reference.py", "--model", model.folder, "--data", model.work / "data", "--dtype", dtype,
                   "--device", self.args.device, "--windows", self.args.windows, "--out", out]
        with open(log, "w", encoding="utf-8") as file:
            if subprocess.run(list(map(str, command)), stdout=file, stderr=file).returncode != 0:
                raise Failed(f"transformers could not run {model.name} in {dtype}; see {log}")
        self.clock.say(f"{model.name}: transformers in {dtype}")

    def compare(self, model, dtype):
        """Measures with corda what transformers measured; fails where they differ by more than rounding."""
        name = f"compare-{dtype}"
        if model.is_done(f"{name}.json") or any(key[:3] == ("compare", model.name, dtype) for key in self.known):
            return
        reference = json.loads((model.work / f"reference-{dtype}.json").read_text(encoding="utf-8"))
        rows = []
        for text in reference["text"]:
            ours = model.corda.json(name, "eval", "--model", "model", "--task", "perplexity", "--data", "data/wikitext2_test.txt", "--seq-len",
                                    str(text["seq_len"]), "--samples", str(text["samples"]), "--dtype", dtype)
            rows.append(agreement("wikitext-2", text["nll"], text["tokens"], ours, TOLERANCE[dtype], seq_len=text["seq_len"]))
        if dtype == "fp32":
            rows += self.compare_answers(model, reference["answers"])
        wrong = [row for row in rows if not row["ok"]]
        rows = [{"step": "compare", "model": model.name, "dtype": dtype, **row, **self.machine, "transformers": reference["transformers"],
                 "reference_card": reference["card"]} for row in rows]
        with self.lock:  # of gather, which reads them
            (model.work / f"{name}-failed.json").unlink(missing_ok=True)
            write_whole(model.work / f"{name}{'-failed' if wrong else ''}.json", json.dumps(rows) + "\n")
        self.gather()
        if wrong:
            raise Failed(f"{model.name}: corda and transformers differ in {dtype}: " + "; ".join(map(json.dumps, wrong)))
        self.clock.say(f"{model.name}: as transformers in {dtype}")

    def compare_answers(self, model, reference):
        """Greedy answers, all equal, and the loss of their first lines as answers."""
        def ask(name, rows, field):
            path = model.work / f"{name}.jsonl"
            path.write_text("".join(json.dumps({"question": row["question"], "answer": [row[field]]}, ensure_ascii=False) + "\n" for row in rows),
                            encoding="utf-8")
            return model.corda.json("compare-fp32", "eval", "--model", "model", "--task", "qa", "--data", path.name, "--format", "qa",
                                    "--max-new-tokens", str(reference["max_new_tokens"]), "--dtype", "fp32")

        # An answer that ended at once has no text; of a given answer, an article is nothing too once it is normalized.
        rows = [{**row, "text": row["text"] if row["text"].strip() else "the"} for row in reference["rows"]]
        equal = round(ask("answers", rows, "text")["score"] / 100 * len(rows))
        # Each alone, to name those that differ.
        different = [] if equal == len(rows) else [row["question"] for row in rows if ask("answer", [row], "text")["score"] != 100]
        loss = agreement("answers", reference["answer_nll"], reference["answer_tokens"], ask("first-lines", reference["rows"], "answer"),
                         TOLERANCE["fp32"])
        return [{"what": "greedy answers", "ok": equal == len(rows), "equal": equal, "answers": len(rows), "different": different}, loss]

    # The job.

    def calibrate(self, model, name):
        if not model.is_done(f"covariance/{name}/manifest.json"):
            draw = [*(self.small or ["--samples", "256"]), "--seq-len", "128" if self.args.small else "512"]
            model.corda(f"calibrate-{name}", "calibrate", "--model", "model", *CALIBRATIONS[name], *draw, *model.corda.common,
                        "--out", f"covariance/{name}")
            self.clock.say(f"{model.name}: calibrated on {name}")

    def decompose(self, model, name):
        if not model.is_done(f"adapters/{name}/corda.json"):
            model.corda(f"decompose-{name}", "decompose", "--model", "model", *DECOMPOSITIONS[name], "--rank", "32", "--alpha", "32",
                        *model.corda.common, "--out", f"adapters/{name}")
            self.clock.say(f"{model.name}: decomposed {name}")

    def evaluate(self, model, log, folder):
        def measure(*arguments):
            return model.corda.json(log, "eval", "--model", folder, *arguments, *self.small)

        def text(*arguments):
            return measure("--task", "perplexity", "--seq-len", "128" if self.args.small else "2048", *arguments)["nll"]

        knowledge = measure("--task", "qa", "--data", "data/knowledge_test.jsonl", "--format", "qa", "--stop", "\n")
        task = measure("--task", "perplexity", "--data", "data/gsm8k_test.jsonl", *TASK, "--template", "alpaca", "--seq-len",
                       "256" if self.args.small else "512")
        return {"gsm8k_nll": task["nll"], "knowledge": knowledge["score"], "answer_nll": knowledge["nll"],
                "wikitext2_nll": text("--data", "data/wikitext2_test.txt"),
                "c4_nll": text("--data", "data/c4_test.jsonl", "--format", "text")}

    def train(self, model, name, method, rate, seed):
        """Trains and merges one run; returns its figures so far. The merged model lies in runs/NAME/merged."""
        begin = time.monotonic()
        plain, own = VARIANTS.get(method, (method, {}))
        settings = {"optim.lr": rate, "seed": seed, "out": f"runs/{name}", **own, **(SMALL_STEPS if self.args.small else {})}
        # The settings of nano_qa.sh: its work folder has the same names in it.
        command = model.corda.train(name, ROOT / "configs" / "nano-qa" / f"{plain}.yaml", **settings)
        seconds = time.monotonic() - begin
        merged = model.corda.json(name, "merge", "--model", "model", "--adapter", f"runs/{name}/adapter", "--out", f"runs/{name}/merged", "--verify")
        return {"method": method, "lr": rate, "seed": seed, "train_seconds": round(seconds, 1), **last_step(model.work / "runs" / name),
                "merge_difference": merged["verify"]["relative_difference"], "command": command.replace(str(ROOT) + "/", "")}

    def run(self, model, name, method, rate, seed):
        """One configuration; its result.json says that it is finished."""
        folder = model.work / "runs" / name
        if (why := take_up(folder, self.clock)) is not None:
            return why
        if method == "base":
            folder.mkdir(parents=True)
            figures = {"method": "base", **self.evaluate(model, name, "model")}
        else:
            figures = self.train(model, name, method, rate, seed)
            figures.update(self.evaluate(model, name, f"runs/{name}/merged"))
            shutil.rmtree(folder / "merged")
        write_whole(folder / "result.json", json.dumps({"step": "run", "model": model.name, "name": name, **figures, **self.machine}) + "\n")
        self.clock.say(f"{model.name} {name}: GSM8K {figures['gsm8k_nll']:.4f}, answers {figures['answer_nll']:.4f} ({figures['knowledge']:.1f} %), "
                       f"wikitext-2 {figures['wikitext2_nll']:.4f}, C4 {figures['c4_nll']:.4f}")
        self.gather()
        return "done"

    def gather(self):
        """Collects all rows in results.jsonl, those of --known in front, the table beside them; returns how many there are."""
        with self.lock:
            keyed = dict(self.known)
            for model in self.models:
                for path in [*sorted(model.work.glob("compare-*.json")), *sorted(model.work.glob("runs/*/result.json"))]:
                    found = json.loads(path.read_text(encoding="utf-8"))
                    keyed.update((key_of(row), row) for row in (found if isinstance(found, list) else [found]))
            rows = list(keyed.values())
            text = "".join(json.dumps(row) + "\n" for row in rows)
            for path in filter(None, (self.args.work / "results.jsonl", self.args.record)):
                write_whole(path, text)
            write_whole(self.args.work / "table.md", tables(rows))
        return len(rows)

    # All of it.

    def stage(self, pool, function, items):
        """Runs items of models that have not failed; a model with a failed item is left out of later stages."""
        results, failed = in_parallel(pool, function, [item for item in items if not item[0].failed])
        for item in failed:
            item[0].failed = True
        return results, len(failed)

    def work_through(self, plan):
        """plan: (model, name, method, rate, seed). Returns how many failed."""
        steps, models, failed = self.args.steps, self.models, 0
        with concurrent.futures.ThreadPoolExecutor(self.args.jobs) as pool:
            if "reference" in steps:
                failed += in_parallel_count(pool, self.reference, [(model, dtype) for model in models for dtype in self.args.dtypes])
            if "compare" in steps:
                ready = [(model, dtype) for model in models for dtype in self.args.dtypes if model.is_done(f"reference-{dtype}.json")]
                failed += in_parallel_count(pool, self.compare, ready)
            if "train" in steps:
                calibrations, wanted = preparations({VARIANTS.get(entry[2], entry[2:])[0] for entry in plan}, DECOMPOSITIONS, CALIBRATIONS)
                failed += self.stage(pool, self.calibrate, [(model, name) for model in models for name in calibrations])[1]
                failed += self.stage(pool, self.decompose, [(model, name) for model in models for name in wanted])[1]
                results, count = self.stage(pool, self.run, plan)
                failed += count
                print(f"runs: {results.count('done')} done, {results.count('skipped')} were there, {results.count('left')} left for lack of time",
                      file=sys.stderr)
        return failed


def key_of(row):
    """What a row of the results is about."""
    return tuple(row.get(name) for name in (("step", "model", "name") if row["step"] == "run" else ("step", "model", "dtype", "what", "seq_len")))


def rows_of(path):
    return {key_of(row): row for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())} if path else {}


def in_parallel_count(pool, function, items):
    return len(in_parallel(pool, function, items)[1])


def agreement(what, nll, tokens, ours, tolerance, **more):
    """Whether two perplexities over the same tokens are equal but for rounding."""
    difference = abs(ours["nll"] - nll)  # of logarithms: the relative difference of the perplexities
    return {"what": what, **more, "tokens": ours["tokens"], "nll": ours["nll"], "reference_nll": nll, "reference_tokens": tokens,
            "difference": difference, "tolerance": tolerance, "ok": ours["tokens"] == tokens and difference <= tolerance}


def last_step(run):
    """Speed and memory as the run's last steps recorded them."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    rates = sorted(row["tokens_per_second"] for row in rows)
    peak = max(row["peak_memory_bytes"] for row in rows)
    return {"steps": len(rows), "tokens_per_second": round(rates[len(rates) // 2]), "peak_memory_bytes": peak}


def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def card(device):
    names = "" if device == "cpu" else output_of("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return names.split("\n")[0] or "CPU"


def versions(corda):
    commit = output_of("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    return {"corda": re.sub(r"^corda ", "", output_of(corda, "--version")), **({"commit": commit} if commit else {})}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", metavar="MODEL", type=pathlib.Path, nargs="*")
    parser.add_argument("--corda", default=ROOT / "build" / "cpu" / "bin" / "corda", type=pathlib.Path, help="default: build/cpu/bin/corda")
    parser.add_argument("--shared", default=ROOT / ".." / "shared", type=pathlib.Path, help="folder with data/datasets, where WORK/data is not there")
    parser.add_argument("--work", default=ROOT / "runs" / "real-models", type=pathlib.Path, help="default: runs/real-models")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N; on a CPU the runs are in fp32, else in bf16")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--only", default="*", help="only runs whose name matches one of these, such as 'qwen*/dual-*,*/base'")
    parser.add_argument("--limit", type=float, default=0, help="seconds after which no further run is started")
    parser.add_argument("--steps", default=STEPS, type=lambda text: text.split(","), help=f"default: {STEPS}; gather alone writes the tables again")
    parser.add_argument("--reference", dest="steps", action="store_const", const=["reference"], help="only write what transformers says")
    parser.add_argument("--dtypes", default="fp32,bf16", type=lambda text: text.split(","), help="of the comparison")
    parser.add_argument("--windows", default="512:8,2048:0", help="of the comparison: tokens:count, 0 for all of wikitext-2's test text")
    parser.add_argument("--python", default=sys.executable, help="a Python with torch and transformers, for the reference")
    parser.add_argument("--known", type=pathlib.Path, help="results of an earlier call: what they have is not done again and stays among the results")
    parser.add_argument("--record", type=pathlib.Path, help="write the results to this file too")
    parser.add_argument("--small", action="store_true", help="a rehearsal: four samples of everything, two steps")
    parser.add_argument("--prepare", action="store_true", help="only write WORK/data, so that it can be carried elsewhere")
    args = parser.parse_args()
    args.work, args.corda = args.work.resolve(), args.corda.resolve()
    args.record = args.record and args.record.resolve()
    return args


def prepare(args):
    if not (args.work / "data" / "code_test.jsonl").exists():
        done = subprocess.run([sys.executable, HERE / "prepare_real_models.py", "--shared", args.shared, "--out", args.work / "data"])
        if done.returncode != 0:
            sys.exit(done.returncode)


def main():
    args = arguments()
    if args.prepare:
        prepare(args)
        return
    missing = [str(folder) for folder in args.models if not (folder / "config.json").exists()]
    if missing or not args.models:
        sys.exit(f"error: name folders of models; no config.json in: {', '.join(missing) or 'none named'}")
    if args.steps != ["reference"] and not args.corda.exists():
        sys.exit(f"error: {args.corda} is not a program; run scripts/bootstrap.sh, or name one with --corda")
    prepare(args)
    models = [Model(folder, args) for folder in args.models]
    for model in models:
        model.link(args.work / "data")
    # Seeds last, so that an interrupted experiment has every method at least once; models innermost, for the same reason.
    plan = [(model, "base", "base", "", 0) for model in models]
    plan += [(model, f"{method}-{rate}-{seed}", method, rate, seed)
             for seed in args.seeds.split(",") for method, rates in RATES.items() for rate in rates for model in models]
    known = rows_of(args.known)
    plan = [entry for entry in plan if any(fnmatch.fnmatch(f"{entry[0].name}/{entry[1]}", pattern) for pattern in args.only.split(",")) and ("run", entry[0].name, entry[1]) not in known]
    experiment = Experiment(args, models, known)
    failed = experiment.work_through(plan)
    count = experiment.gather()
    print((args.work / "table.md").read_text(encoding="utf-8"))
    print(f"{failed} failed; {count} results in {args.work / 'results.jsonl'}", file=sys.stderr)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
