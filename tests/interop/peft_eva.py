# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""PEFT's EVA of a base on given sequences, for corda to start its own alike: OUT becomes the adapter's directory.
IDS is a JSON list of sequences. They are padded on the right into --batches batches, and PEFT is told by the attention
mask which tokens are there. With --svd full its incremental PCA takes the full SVD, which it has beside the
randomised one that it takes by default. Exit code 1 with the reason on stderr if anything fails."""

import argparse
import json
import sys
from pathlib import Path

import torch
from peft import EvaConfig, LoraConfig, get_peft_model, initialize_lora_eva_weights
from peft.tuners.lora import eva
from peft.utils.incremental_pca import IncrementalPCA
from transformers import AutoModelForCausalLM

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def padded(sequences):
    longest = max(map(len, sequences))
    return {"input_ids": torch.tensor([ids + [0] * (longest - len(ids)) for ids in sequences]),
            "attention_mask": torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in sequences])}


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--base", required=True, type=Path)
    p.add_argument("--ids", required=True, type=Path)
    p.add_argument("--out", required=True, type=Path)
    p.add_argument("--rank", required=True, type=int)
    p.add_argument("--alpha", required=True, type=float)
    p.add_argument("--rho", required=True, type=float)
    p.add_argument("--batches", required=True, type=int)
    p.add_argument("--svd", required=True, choices=["full", "lowrank"])
    args = p.parse_args()
    if args.svd == "full":
        eva.IncrementalPCA = lambda n_components, **_: IncrementalPCA(n_components=n_components, copy=True)
    sequences = json.loads(args.ids.read_text())
    size = -(-len(sequences) // args.batches)
    batches = [padded(sequences[i:i + size]) for i in range(0, len(sequences), size)]
    if len(batches) != args.batches:
        raise ValueError(f"{len(sequences)} sequences make {len(batches)} batches")
    model = AutoModelForCausalLM.from_pretrained(args.base, dtype=torch.float32, local_files_only=True).eval()
    model = get_peft_model(model, LoraConfig(
        r=args.rank, lora_alpha=args.alpha, target_modules=TARGETS, task_type="CAUSAL_LM", init_lora_weights="eva",
        eva_config=EvaConfig(rho=args.rho)))
    initialize_lora_eva_weights(model, batches, show_progress_bar=False)
    model.save_pretrained(args.out)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # any failure is a failed check
        sys.exit(f"peft_eva: {type(error).__name__}: {error}")
