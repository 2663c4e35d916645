# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""tests/golden/covariance: the input covariances that PEFT's CorDA calibration collects on llama3-gqa."""

import torch
from peft import LoraConfig
from peft.tuners.lora.config import CordaConfig
from peft.tuners.lora.corda import calib_cov_distribution

import golden
from golden import load_model, relative, write_json, write_manifest, write_tensors

SEED = 20241
MODEL = "llama3-gqa"
LENGTHS = [31, 12, 47, 5]
SITES = {  # site -> the linear layers that read it
    "self_attn.input": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "self_attn.o_proj.input": ["self_attn.o_proj"],
    "mlp.input": ["mlp.gate_proj", "mlp.up_proj"],
    "mlp.down_proj.input": ["mlp.down_proj"],
}
UNSCALED = ["model.layers.0.self_attn.input", "model.layers.1.mlp.down_proj.input"]


def modules_of_sites(model):
    return {f"model.layers.{n}.{site}": [f"model.layers.{n}.{m}" for m in modules]
            for n in range(model.config.num_hidden_layers) for site, modules in SITES.items()}


@torch.no_grad()
def peft_covariances(model, samples, names):
    """By PEFT's own code, one forward pass a sample: module name -> [in, in]. `names`: last parts of the modules' names."""
    config = LoraConfig(init_lora_weights="corda", target_modules=names, r=4,
                        corda_config=CordaConfig(corda_method="kpm"))

    def run():
        for ids in samples:
            model(input_ids=torch.tensor([ids]))

    calib_cov_distribution(model, config, run, None, None)
    return {name: module.covariance_matrix for name, module in model.named_modules()
            if hasattr(module, "covariance_matrix")}


@torch.no_grad()
def recomputed(model, samples, modules):
    """Our reading of that code, in fp64: the scaled mean, the plain sum and the divisors used."""
    scaled, plain, divisors, signed = {}, {}, {}, 0

    def hook(name):
        def collect(module, inputs, output):
            nonlocal signed
            x = inputs[0][0].double()
            divisor = x.max().abs()
            signed += int(x.abs().max() > divisor)
            divisors.setdefault(name, []).append(divisor.item())
            scaled[name] = scaled.get(name, 0) + (x / divisor).T @ (x / divisor) / len(samples)
            plain[name] = plain.get(name, 0) + x.T @ x
        return collect

    handles = [model.get_submodule(m).register_forward_hook(hook(m)) for m in modules]
    for ids in samples:
        model(input_ids=torch.tensor([ids]))
    for handle in handles:
        handle.remove()
    return scaled, plain, divisors, signed


def main():
    folder = golden.start("covariance", SEED)
    model = load_model(MODEL)
    generator = torch.Generator().manual_seed(SEED)
    samples = [torch.randint(3, model.config.vocab_size, (n,), generator=generator).tolist()
               for n in LENGTHS]
    sites = modules_of_sites(model)
    by_module = peft_covariances(model, samples, sorted({m.rsplit(".", 1)[1] for ms in SITES.values() for m in ms}))
    assert sorted(by_module) == sorted(m for ms in sites.values() for m in ms)
    for modules in sites.values():
        for other in modules[1:]:
            assert torch.equal(by_module[other], by_module[modules[0]]), other
    expected = {site: by_module[modules[0]] for site, modules in sites.items()}

    firsts = [modules[0] for modules in sites.values()]
    scaled, plain, divisors, signed = recomputed(model, samples, firsts)
    worst = max(relative(expected[s], scaled[ms[0]]) for s, ms in sites.items())
    assert worst < 1e-5
    assert signed > 0, "signed and absolute maximum never differ on these samples"

    write_json(folder / "samples.json", {"model": MODEL, "samples": samples})
    write_json(folder / "sites.json", {
        site: {"in_features": expected[site].shape[0], "modules": modules,
               "tokens": sum(LENGTHS), "divisors": divisors[modules[0]]}
        for site, modules in sites.items()})
    write_tensors(folder / "reference.safetensors", expected)
    write_tensors(folder / "none.safetensors",
                  {site: plain[sites[site][0]].float() for site in UNSCALED})
    write_manifest(folder, "covariance.py", SEED, difference_to_float64=float(f"{worst:.1g}"))


if __name__ == "__main__":
    main()
