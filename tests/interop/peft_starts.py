# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""How PEFT starts adapters of a base, for corda to start its own alike. Writes into OUT:
inputs.safetensors, X^T X of every layer's inputs on a batch of tokens, fp32, by module name;
eva/, the adapter that PEFT's EVA makes of that batch;
starts.safetensors, START.MODULE.lora_A and .lora_B of START pissa and mica.
PEFT takes means off EVA's inputs, and these covariances have them; so each input is given with its negative, whose
mean is zero (peft_eva.py has inputs with a mean). Exit code 1 with the reason on stderr if anything fails."""

import argparse
import sys
from pathlib import Path

import torch
from peft import EvaConfig, LoraConfig, get_peft_model, initialize_lora_eva_weights
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def load(base):
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True).eval()


def grams(model, batch):
    found = {}
    hooks = [m.register_forward_hook(lambda _, x, y, name=n: found.__setitem__(
                 name, x[0].double().flatten(0, 1).T @ x[0].double().flatten(0, 1)))
             for n, m in model.named_modules() if n.split(".")[-1] in TARGETS]
    with torch.no_grad():
        model(**batch)
    for hook in hooks:
        hook.remove()
    return {name: gram.float() for name, gram in found.items()}


def options(args, **more):
    return LoraConfig(r=args.rank, lora_alpha=args.alpha, target_modules=TARGETS, task_type="CAUSAL_LM", **more)


def eva(args, batch):
    model = get_peft_model(load(args.base), options(args, init_lora_weights="eva", eva_config=EvaConfig(rho=args.rho)))
    initialize_lora_eva_weights(
        model, [batch], prepare_model_inputs_fn=None, show_progress_bar=False,
        prepare_layer_inputs_fn=lambda x, inputs, name: torch.cat([x[0].flatten(0, 1), -x[0].flatten(0, 1)]))
    return model


def start_of(args, name):
    model = get_peft_model(load(args.base), options(args, init_lora_weights=name))
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    factors = {}
    for key, value in model.named_parameters():
        if ".lora_" not in key:
            continue
        short = key.removeprefix("base_model.model.").removesuffix(".default.weight")
        factors[f"{name}.{short}"] = value.detach().contiguous()
        if (key in trained) != (name != "mica" or "lora_A" in key):
            raise ValueError(f"{name}: PEFT trains other factors than corda: {key}")
    return factors


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--base", required=True, type=Path)
    p.add_argument("--out", required=True, type=Path)
    p.add_argument("--rank", required=True, type=int)
    p.add_argument("--alpha", required=True, type=float)
    p.add_argument("--rho", required=True, type=float)
    args = p.parse_args()
    base = load(args.base)
    torch.manual_seed(7)
    batch = {"input_ids": torch.randint(base.config.vocab_size, (8, 64))}
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(grams(base, batch), args.out / "inputs.safetensors")
    eva(args, batch).save_pretrained(args.out / "eva")
    save_file({**start_of(args, "pissa"), **start_of(args, "mica")}, args.out / "starts.safetensors")


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # any failure is a failed check
        sys.exit(f"peft_starts: {type(error).__name__}: {error}")
