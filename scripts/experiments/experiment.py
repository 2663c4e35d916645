# SPDX-License-Identifier: Apache-2.0
"""What the experiments that run a built corda share."""
import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import time
import traceback

# GSM8K as instructions.
TASK = ["--format", "alpaca", "--columns", "instruction=question,output=answer"]


class Failed(Exception):
    pass


class Corda:
    """The program, called in a folder; what it logs is kept there."""

    def __init__(self, program, folder, device, jobs):
        self.program, self.folder, self.device = program, folder, device
        self.threads = str(max(1, (os.cpu_count() or 1) // jobs))
        self.common = ["--device", device, "--threads", self.threads]

    def __call__(self, log, *arguments):
        """Runs corda; returns its standard output, appends its log to logs/LOG.txt."""
        path = self.folder / "logs" / f"{log}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"\n$ corda {' '.join(arguments)}\n")
            file.flush()
            done = subprocess.run([self.program, *arguments], cwd=self.folder, stdout=subprocess.PIPE, stderr=file, text=True)
            file.write(done.stdout)
        if done.returncode != 0:
            raise Failed(f"corda {arguments[0]} ended with {done.returncode}; see {path}")
        return done.stdout

    def json(self, log, *arguments):
        """The object that a verb prints with --json."""
        return json.loads(self(log, *arguments, *self.common, "--json"))

    def train(self, log, config, **settings):
        """`settings` go before those of the file."""
        # Few CPUs multiply 16-bit numbers at any speed.
        precision = {"precision": "fp32"} if self.device == "cpu" else {}
        settings = {**settings, **precision, "device": self.device, "threads": self.threads}
        arguments = ["train", "--config", str(config)]
        for name, value in settings.items():
            arguments += ["--set", f"{name}={value}"]
        self(log, *arguments)
        return "corda " + " ".join(arguments)


class Clock:
    """Seconds since the start, and whether the time for further runs is over."""

    def __init__(self, limit):
        self.start, self.limit = time.monotonic(), limit

    def say(self, text):
        print(f"{time.monotonic() - self.start:6.0f} s  {text}", file=sys.stderr, flush=True)

    def is_over(self):
        return bool(self.limit) and time.monotonic() - self.start > self.limit


def write_whole(path, text):
    """Nobody ever sees half of the file."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.rename(path)


def take_up(folder, clock):
    """Makes room for a run in its folder. Returns why it is not to be done, "skipped" where its result.json says that it is finished,
    "left" where the time is over, or None."""
    if (folder / "result.json").exists():
        return "skipped"
    if clock.is_over():
        return "left"
    shutil.rmtree(folder, ignore_errors=True)
    return None


def preparations(methods, decompositions, calibrations):
    """Names of the calibrations and decompositions, each a dict of name to arguments, that runs of these methods need."""
    wanted = [name for name in decompositions if name in methods]
    options = {option for name in wanted for option in decompositions[name]}
    return [name for name in calibrations if f"covariance/{name}" in options], wanted


def in_parallel(pool, function, items):
    """Calls function(*item) for every item; returns its results and the items that failed, whose messages it prints."""
    futures = {pool.submit(function, *item): item for item in items}
    results, failed = [], []
    for future in concurrent.futures.as_completed(futures):
        try:
            results.append(future.result())
        except Exception as failure:  # whatever it was, the others go on
            failed.append(futures[future])
            if not isinstance(failure, Failed):
                traceback.print_exception(failure)
            print(f"error: {failure}", file=sys.stderr, flush=True)
    return results, failed
