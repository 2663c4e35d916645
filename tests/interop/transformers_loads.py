# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""A merged directory loads with transformers as it is: no tensor missing, left over or of another
shape, all values finite. Prints its parameter count. Exit code 1 with the reason on stderr if not."""

import argparse
import json
import sys
from pathlib import Path

from transformers import AutoModelForCausalLM


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--merged", required=True, type=Path)
    directory = p.parse_args().merged
    if not directory.is_dir():
        raise ValueError(f"{directory} is not a directory")
    model, info = AutoModelForCausalLM.from_pretrained(
        directory, dtype="auto", output_loading_info=True, local_files_only=True)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if info.get(problem):
            raise ValueError(f"{directory}: {problem}: {sorted(map(str, info[problem]))}")
    for name, tensor in model.named_parameters():
        if not tensor.isfinite().all():
            raise ValueError(f"{directory}: {name} is not finite")
    print(json.dumps({"architecture": type(model).__name__, "dtype": str(model.dtype),
                      "parameters": sum(t.numel() for t in model.parameters())}))


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # any failure is a failed check
        sys.exit(f"transformers_loads: {type(error).__name__}: {error}")
