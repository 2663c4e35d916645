#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""What lm-evaluation-harness itself says of a model, item by item, in fp32 on a CPU.

    tests/interop/harness_runs.py MODEL ROWS TASK ...

ROWS is a folder with a file TASK.jsonl of each task's rows, as the public data sets have them. Prints an object: under each task's name the items
as scripts/golden/eval_tasks.py writes them, and the metrics. Exit code 77: lm_eval is not of the version of the goldens, or not there."""

import importlib.metadata
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts" / "golden"))
import eval_tasks  # noqa: E402


def main():
    model, rows, tasks = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    try:
        found = importlib.metadata.version("lm_eval")
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if found != eval_tasks.VERSION:
        print(f"lm_eval {eval_tasks.VERSION} is wanted; found {found}", file=sys.stderr)
        return 77
    said = {}
    with redirect_stdout(sys.stderr):
        lm = eval_tasks.harness_model(model)
        for task in tasks:
            asked = eval_tasks.read(rows / f"{task}.jsonl")
            results, samples = eval_tasks.measured(lm, [task], lambda _: asked, lambda _: asked, shots=0)
            metrics = {name: value for name, value in results[task].items() if isinstance(value, float)}
            said[task] = {"items": [eval_tasks.item_of(sample, task) for sample in samples], "metrics": metrics}
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
