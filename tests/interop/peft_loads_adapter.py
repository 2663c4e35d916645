# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""An adapter directory loads with PEFT on the unmodified base, and base + adapter computes what the
merged directory computes. Exit code 0: it does; 1: it does not, with the reason on stderr."""

import argparse
import json
import sys
import warnings
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def parse():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--base", type=Path)
    p.add_argument("--adapter", type=Path)
    p.add_argument("--merged", type=Path)
    p.add_argument("--list", type=Path,
                   help="in place of these: a JSON list of {base, adapter, merged}, one check each")
    p.add_argument("--ids", required=True,
                   help="JSON, or a file of JSON: one list of token ids or a list of such lists")
    p.add_argument("--tolerance", type=float, default=1e-4,
                   help="of max |a - b| / max |b| over the logits, default 1e-4")
    return p.parse_args()


def read_ids(argument):
    text = argument if argument.lstrip().startswith("[") else Path(argument).read_text()
    rows = json.loads(text)
    rows = rows if rows and isinstance(rows[0], list) else [rows]
    if not all(r and all(isinstance(i, int) for i in r) for r in rows):
        raise ValueError("--ids must hold non-empty lists of integers")
    return rows


def load(directory):
    family = AutoConfig.from_pretrained(directory, local_files_only=True).model_type
    kind = (AutoModelForCausalLM if family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
            else AutoModelForImageTextToText)
    model, info = kind.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager", output_loading_info=True,
        local_files_only=True)
    problems = {k: sorted(map(str, v)) for k, v in info.items()
                if k in ("missing_keys", "unexpected_keys", "mismatched_keys") and v}
    if problems:
        raise ValueError(f"{directory}: {problems}")
    return model.eval()


def load_adapted(base, adapter):
    """PEFT only warns where tensors of the adapter find no place or places no tensor."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(load(base), adapter, local_files_only=True)
    texts = [str(w.message) for w in caught]
    bad = [t for t in texts if "missing" in t or "unexpected" in t.lower()]
    if bad:
        raise ValueError(f"{adapter}: {bad[0]}")
    return model.eval()


@torch.no_grad()
def logits_of(model, rows):
    return torch.cat([model(input_ids=torch.tensor([r])).logits[0] for r in rows]).double()


def relative(got, want):
    return ((got - want).abs().max() / want.abs().max()).item()


def check(base_directory, adapter, merged_directory, rows, tolerance):
    for directory in (base_directory, adapter, merged_directory):
        if not directory.is_dir():
            raise ValueError(f"{directory} is not a directory")
    adapted = logits_of(load_adapted(base_directory, adapter), rows)
    merged = logits_of(load(merged_directory), rows)
    base = logits_of(load(base_directory), rows)
    if not (adapted.isfinite().all() and merged.isfinite().all()):
        raise ValueError(f"{adapter}: logits that are not finite")
    difference = relative(adapted, merged)
    change = relative(merged, base)
    print(json.dumps({"adapter": str(adapter), "tokens": sum(map(len, rows)),
                      "max_relative_difference": difference, "tolerance": tolerance,
                      "max_relative_change_of_base": change}))
    if not difference < tolerance:
        raise ValueError(f"{adapter}: logits of base + adapter differ from merged by "
                         f"{difference:.3g}; allowed {tolerance:g}")
    return change


def main():
    args = parse()
    rows = read_ids(args.ids)
    if args.list is None:
        check(args.base, args.adapter, args.merged, rows, args.tolerance)
        return
    cases = json.loads(args.list.read_text())
    for case in cases:
        change = check(*(Path(case[key]) for key in ("base", "adapter", "merged")), rows,
                       args.tolerance)
        if change < 10 * args.tolerance:
            raise ValueError(f"{case['adapter']} changes the base by {change:.3g} only, "
                             "so the comparison says nothing")
    print(f"{len(cases)} adapters")


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # any failure is a failed check
        sys.exit(f"peft_loads_adapter: {type(error).__name__}: {error}")
