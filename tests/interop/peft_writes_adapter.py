# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""PEFT writes adapters of a base with random weights, and what it merges them to, for corda to read:
OUT/KIND/adapter and OUT/KIND/merged for each KIND below. Exit code 1 with the reason on
stderr if that fails."""

import argparse
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PATTERNS = {"rank_pattern": {r"layers\.1\.self_attn\.q_proj": 8, "down_proj": 2, "proj": 3},
            "alpha_pattern": {r"^model\.layers\.0\..*": 12, "up_proj": 5}}
KINDS = {"lora": {}, "rslora": {"use_rslora": True}, "dora": {"use_dora": True}, "patterns": PATTERNS,
         "rslora-patterns": {"use_rslora": True, **PATTERNS}, "dora-patterns": {"use_dora": True, **PATTERNS},
         "one-block": {"layers_to_transform": [1], "layers_pattern": "layers"},
         "excluded": {"target_modules": "all-linear", "exclude_modules": [r"v_proj"]},
         "pattern": {"target_modules": r".*\.(0\.self_attn|1\.mlp)\..*_proj"},
         "head": {"target_modules": ["q_proj", "lm_head"]}}


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--base", required=True, type=Path)
    p.add_argument("--out", required=True, type=Path)
    args = p.parse_args()
    for kind, options in KINDS.items():
        torch.manual_seed(5)
        base = AutoModelForCausalLM.from_pretrained(args.base, dtype=torch.float32, local_files_only=True)
        config = LoraConfig(**{"r": 4, "lora_alpha": 6, "target_modules": TARGETS, "task_type": "CAUSAL_LM", **options})
        model = get_peft_model(base, config)
        with torch.no_grad():
            for name, tensor in model.named_parameters():
                if "lora_B" in name:
                    tensor.normal_(std=0.05)
                if "magnitude" in name:
                    tensor.mul_(1 + 0.2 * torch.rand_like(tensor))
        model.save_pretrained(args.out / kind / "adapter")
        model.merge_and_unload().save_pretrained(args.out / kind / "merged")


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # any failure is a failed check
        sys.exit(f"peft_writes_adapter: {type(error).__name__}: {error}")
