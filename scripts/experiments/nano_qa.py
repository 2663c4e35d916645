#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the nano-qa experiment with a built corda; scripts/experiments/nano_qa.sh prepares its work folder."""
import argparse
import concurrent.futures
import fnmatch
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

RATES = {"lora": ["1e-4", "4e-4"], "dora": ["1e-4", "4e-4"], "pissa": ["1e-4", "4e-4"], "kpa": ["1e-4", "4e-4"],
         "kpa-qa": ["1e-4", "4e-4"], "ipa": ["1e-4", "4e-4"], "full": ["2.5e-5", "1e-4"], "dual": ["1e-3", "2e-3", "4e-3"]}
TASK = ["--format", "alpaca", "--columns", "instruction=question,output=answer"]
WINDOWS = ["--format", "qa", "--samples", "256", "--seq-len", "256"]
CALIBRATIONS = {
    "questions": ["--data", "data/nq_dpr.jsonl", *WINDOWS, "--qa-text", "question"],
    "answers": ["--data", "data/nq_dpr.jsonl", *WINDOWS, "--qa-text", "question-answer"],
    "task": ["--data", "data/gsm8k_train.jsonl", *TASK, "--template", "alpaca", "--samples", "256", "--seq-len", "512"],
}
DECOMPOSITIONS = {
    "kpa": ["--mode", "kpa", "--covariance", "covariance/questions"],
    "kpa-qa": ["--mode", "kpa", "--covariance", "covariance/answers"],
    "ipa": ["--mode", "ipa", "--covariance", "covariance/task"],
    "dual": ["--mode", "dual", "--covariance", "covariance/answers", "--task-covariance", "covariance/task"],
}


class Failed(Exception):
    pass


class Experiment:
    def __init__(self, args):
        self.corda, self.work, self.configs, self.device = args.corda, args.work, args.configs, args.device
        threads = max(1, (os.cpu_count() or 1) // args.jobs)
        self.common = ["--device", args.device, "--threads", str(threads)]
        # Few CPUs multiply 16-bit numbers at any speed.
        self.precision = ["--set", "precision=fp32"] if args.device == "cpu" else []
        self.start = time.monotonic()
        self.limit = args.limit
        self.lock = threading.Lock()

    def say(self, text):
        print(f"{time.monotonic() - self.start:6.0f} s  {text}", file=sys.stderr, flush=True)

    def call(self, log, *arguments):
        """Runs corda in the work folder; returns its standard output, appends its log to `log`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"\n$ corda {' '.join(arguments)}\n")
            file.flush()
            done = subprocess.run([self.corda, *arguments], cwd=self.work, stdout=subprocess.PIPE, stderr=file, text=True)
            file.write(done.stdout)
        if done.returncode != 0:
            raise Failed(f"corda {arguments[0]} ended with {done.returncode}; see {log}")
        return done.stdout

    def calibrate(self, name):
        if not (self.work / "covariance" / name / "manifest.json").exists():
            self.call(self.work / "logs" / f"calibrate-{name}.txt", "calibrate", "--model", "model", *CALIBRATIONS[name],
                      *self.common, "--out", f"covariance/{name}")
            self.say(f"calibrated on {name}")

    def decompose(self, name):
        if not (self.work / "adapters" / name / "corda.json").exists():
            self.call(self.work / "logs" / f"decompose-{name}.txt", "decompose", "--model", "model", *DECOMPOSITIONS[name],
                      "--rank", "32", "--alpha", "32", *self.common, "--out", f"adapters/{name}")
            self.say(f"decomposed {name}")

    def evaluate(self, log, *model):
        knowledge = json.loads(self.call(log, "eval", *model, "--task", "qa", "--data", "data/knowledge.jsonl", "--format", "qa",
                                         *self.common, "--json"))
        task = json.loads(self.call(log, "eval", *model, "--task", "perplexity", "--data", "data/gsm8k_test.jsonl", *TASK,
                                    "--template", "alpaca", "--seq-len", "512", *self.common, "--json"))
        return {"knowledge": knowledge["score"], "gsm8k_nll": task["nll"]}

    def run(self, name, method, rate, seed):
        """Trains and evaluates one configuration; its result.json says that it is finished."""
        folder = self.work / "runs" / name
        result_path = folder / "result.json"
        if result_path.exists():
            return "skipped"
        if self.limit and time.monotonic() - self.start > self.limit:
            return "left"
        shutil.rmtree(folder, ignore_errors=True)
        log = self.work / "logs" / f"{name}.txt"
        begin = time.monotonic()
        if method == "base":
            folder.mkdir(parents=True)
            result = {}
            measured = self.evaluate(log, "--model", "model")
        else:
            self.call(log, "train", "--config", str(self.configs / f"{method}.yaml"), "--set", f"optim.lr={rate}",
                      "--set", f"seed={seed}", "--set", f"out=runs/{name}", "--set", f"device={self.device}",
                      "--set", f"threads={self.common[-1]}", *self.precision)
            result = {"lr": rate, "seed": seed, "train_seconds": round(time.monotonic() - begin, 1)}
            model = ["--model", f"runs/{name}/model"] if method == "full" else ["--model", "model", "--adapter", f"runs/{name}/adapter"]
            measured = self.evaluate(log, *model)
            if method == "full":
                shutil.rmtree(folder / "model")
        result = {"name": name, "method": method, **result, **measured}
        temporary = result_path.with_suffix(".tmp")
        temporary.write_text(json.dumps(result) + "\n", encoding="utf-8")
        temporary.rename(result_path)
        self.say(f"{name}: GSM8K NLL {measured['gsm8k_nll']:.4f}, knowledge {measured['knowledge']:.1f} %")
        self.gather()
        return "done"

    def gather(self):
        """Collects every result.json in results.jsonl; returns how many there are."""
        with self.lock:
            results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((self.work / "runs").glob("*/result.json"))]
            text = "".join(json.dumps(result) + "\n" for result in results)
            (self.work / "results.jsonl").write_text(text, encoding="utf-8")
        return len(results)


def in_parallel(pool, function, items):
    """Calls function(*item) for every item; returns its results and the messages of those that failed."""
    futures = [pool.submit(function, *item) for item in items]
    results, failures = [], []
    for future in concurrent.futures.as_completed(futures):
        try:
            results.append(future.result())
        except Failed as failure:
            failures.append(str(failure))
            print(f"error: {failure}", file=sys.stderr, flush=True)
    return results, failures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corda", required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--configs", type=pathlib.Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--only", default="*")
    parser.add_argument("--limit", type=float, default=0, help="seconds after which no further run is started")
    args = parser.parse_args()
    plan = [("base", "base", "", 0)]
    # Seeds last, so that an interrupted experiment has every method at least once.
    plan += [(f"{method}-{rate}-{seed}", method, rate, seed)
             for seed in args.seeds.split(",") for method, rates in RATES.items() for rate in rates]
    plan = [entry for entry in plan if fnmatch.fnmatch(entry[0], args.only)]
    if not plan:
        sys.exit(f"error: no run is called '{args.only}'; names look like lora-4e-4-0")
    experiment = Experiment(args)
    decompositions = [name for name in DECOMPOSITIONS if any(entry[1] == name for entry in plan)]
    options = {option for name in decompositions for option in DECOMPOSITIONS[name]}
    calibrations = [name for name in CALIBRATIONS if f"covariance/{name}" in options]
    results, failures = [], []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        # A stage starts when the one before has succeeded; the runs that need no decomposition share the last.
        for function, items in ((experiment.calibrate, [(name,) for name in calibrations]),
                                (experiment.decompose, [(name,) for name in decompositions]), (experiment.run, plan)):
            results, failures = in_parallel(pool, function, items)
            if failures:
                break
    count = experiment.gather()
    print(f"runs: {results.count('done')} done, {results.count('skipped')} were there, {len(failures)} failed, "
          f"{results.count('left')} left for lack of time; {count} results in {args.work / 'results.jsonl'}", file=sys.stderr)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
