#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the nano-qa experiment with a built corda; scripts/experiments/nano_qa.sh prepares its work folder."""
import argparse
import concurrent.futures
import fnmatch
import json
import pathlib
import shutil
import sys
import threading
import time

from experiment import TASK, Clock, Corda, in_parallel, preparations, take_up, write_whole

RATES = {"lora": ["1e-4", "4e-4"], "dora": ["1e-4", "4e-4"], "pissa": ["1e-4", "4e-4"], "kpa": ["1e-4", "4e-4"],
         "kpa-qa": ["1e-4", "4e-4"], "ipa": ["1e-4", "4e-4"], "full": ["2.5e-5", "1e-4"], "dual": ["1e-3", "2e-3", "4e-3"]}
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


class Experiment:
    def __init__(self, args):
        self.work, self.configs = args.work, args.configs
        self.corda = Corda(args.corda, args.work, args.device, args.jobs)
        self.clock = Clock(args.limit)
        self.lock = threading.Lock()

    def calibrate(self, name):
        if not (self.work / "covariance" / name / "manifest.json").exists():
            self.corda(f"calibrate-{name}", "calibrate", "--model", "model", *CALIBRATIONS[name], *self.corda.common,
                       "--out", f"covariance/{name}")
            self.clock.say(f"calibrated on {name}")

    def decompose(self, name):
        if not (self.work / "adapters" / name / "corda.json").exists():
            self.corda(f"decompose-{name}", "decompose", "--model", "model", *DECOMPOSITIONS[name], "--rank", "32", "--alpha", "32",
                       *self.corda.common, "--out", f"adapters/{name}")
            self.clock.say(f"decomposed {name}")

    def evaluate(self, log, *model):
        knowledge = self.corda.json(log, "eval", *model, "--task", "qa", "--data", "data/knowledge.jsonl", "--format", "qa")
        task = self.corda.json(log, "eval", *model, "--task", "perplexity", "--data", "data/gsm8k_test.jsonl", *TASK,
                               "--template", "alpaca", "--seq-len", "512")
        return {"knowledge": knowledge["score"], "gsm8k_nll": task["nll"]}

    def run(self, name, method, rate, seed):
        """Trains and evaluates one configuration; its result.json says that it is finished."""
        folder = self.work / "runs" / name
        if (why := take_up(folder, self.clock)) is not None:
            return why
        begin = time.monotonic()
        if method == "base":
            folder.mkdir(parents=True)
            result = {}
            measured = self.evaluate(name, "--model", "model")
        else:
            self.corda.train(name, self.configs / f"{method}.yaml", **{"optim.lr": rate, "seed": seed, "out": f"runs/{name}"})
            result = {"lr": rate, "seed": seed, "train_seconds": round(time.monotonic() - begin, 1)}
            model = ["--model", f"runs/{name}/model"] if method == "full" else ["--model", "model", "--adapter", f"runs/{name}/adapter"]
            measured = self.evaluate(name, *model)
            if method == "full":
                shutil.rmtree(folder / "model")
        result = {"name": name, "method": method, **result, **measured}
        write_whole(folder / "result.json", json.dumps(result) + "\n")
        self.clock.say(f"{name}: GSM8K NLL {measured['gsm8k_nll']:.4f}, knowledge {measured['knowledge']:.1f} %")
        self.gather()
        return "done"

    def gather(self):
        """Collects every result.json in results.jsonl; returns how many there are."""
        with self.lock:
            results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((self.work / "runs").glob("*/result.json"))]
            text = "".join(json.dumps(result) + "\n" for result in results)
            (self.work / "results.jsonl").write_text(text, encoding="utf-8")
        return len(results)


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
    calibrations, decompositions = preparations({entry[1] for entry in plan}, DECOMPOSITIONS, CALIBRATIONS)
    results, failed = [], []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        # A stage starts when the one before has succeeded; the runs that need no decomposition share the last.
        for function, items in ((experiment.calibrate, [(name,) for name in calibrations]),
                                (experiment.decompose, [(name,) for name in decompositions]), (experiment.run, plan)):
            results, failed = in_parallel(pool, function, items)
            if failed:
                break
    count = experiment.gather()
    print(f"runs: {results.count('done')} done, {results.count('skipped')} were there, {len(failed)} failed, "
          f"{results.count('left')} left for lack of time; {count} results in {args.work / 'results.jsonl'}", file=sys.stderr)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
