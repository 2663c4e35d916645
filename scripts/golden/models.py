# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""tests/golden/models: tiny Llama and Mistral directories with the logits and greedy continuations
that transformers gives for them."""

import json

import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

import golden
from golden import load_model, relative, right_pad, write_json, write_manifest, write_tensors

SEED = 20240
NEW_TOKENS = 12

SMALL = dict(vocab_size=96, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=512,
             rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, pad_token_id=None,
             tie_word_embeddings=False)
# With 16 wide heads the wavelengths are 6.3, 32, 167...: one is short (< 64 / 4), one lies in the
# blended band, the others are long (> 64), so every branch of the llama3 rule is taken.
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=64)
DROP = object()  # this key is left out of config.json, as in older files

# name -> class, configuration, keys of the old spelling (None: rope_parameters as saved), stored
# dtype, shard size.
MODELS = {
    "llama2": dict(
        config=dict(SMALL, rope_parameters=dict(rope_type="default", rope_theta=10000.0)),
        old=dict(rope_theta=10000.0, rope_scaling=None, torch_dtype="float32", head_dim=DROP,
                 attention_bias=DROP, mlp_bias=DROP, num_key_value_heads=DROP),
        shard="40KB"),
    "llama3-gqa": dict(
        config=dict(SMALL, vocab_size=128, hidden_size=64, intermediate_size=80,
                    num_key_value_heads=2, rope_parameters=dict(LLAMA3, rope_theta=500000.0)),
        old=dict(rope_theta=500000.0, rope_scaling=LLAMA3, torch_dtype="float32", head_dim=DROP)),
    "llama-linear": dict(
        config=dict(SMALL, rope_parameters=dict(rope_type="linear", factor=4.0,
                                                rope_theta=10000.0)),
        old=dict(rope_theta=10000.0, rope_scaling=dict(type="linear", factor=4.0))),
    "llama-tied": dict(
        config=dict(SMALL, num_key_value_heads=2, tie_word_embeddings=True,
                    rope_parameters=dict(rope_type="default", rope_theta=10000.0)),
        shard="30KB"),
    "llama-bias": dict(
        config=dict(SMALL, attention_bias=True, mlp_bias=True, num_key_value_heads=2,
                    rope_parameters=dict(rope_type="default", rope_theta=20000.0))),
    "llama-headdim": dict(
        config=dict(SMALL, head_dim=12, num_key_value_heads=2, rms_norm_eps=1e-6,
                    rope_parameters=dict(rope_type="default", rope_theta=10000.0))),
    "mistral": dict(
        mistral=True,
        config=dict(SMALL, num_key_value_heads=2, sliding_window=None,
                    rope_parameters=dict(rope_type="default", rope_theta=1000000.0)),
        old=dict(rope_theta=1000000.0, torch_dtype="float32", head_dim=DROP, sliding_window=None)),
    "llama-bf16": dict(
        config=dict(SMALL, num_attention_heads=2, num_key_value_heads=1,
                    rope_parameters=dict(LLAMA3, rope_theta=500000.0)),
        dtype=torch.bfloat16),
    "llama-fp16": dict(
        config=dict(SMALL, num_key_value_heads=1,
                    rope_parameters=dict(rope_type="linear", factor=2.0, rope_theta=10000.0)),
        dtype=torch.float16),
}


def randomise(model, generator):
    """Weights large enough that logits vary by units, norms around 1, biases far from 0."""
    seen = set()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.data_ptr() in seen:
                continue
            seen.add(p.data_ptr())
            noise = torch.randn(p.shape, generator=generator)
            if "norm" in name:
                p.copy_(1 + 0.2 * noise)
            elif name.endswith("bias"):
                p.copy_(0.3 * noise)
            elif "embed" in name:
                p.copy_(0.2 * noise)
            else:
                p.copy_((0.17 if p.shape[1] < 64 else 0.13) * noise)


def respell(path, changes):
    """Rewrites config.json with the keys that files older than rope_parameters have."""
    config = json.loads(path.read_text())
    del config["rope_parameters"]
    config.pop("dtype", None)
    for key, value in changes.items():
        config.pop(key, None)
        if value is not DROP:
            config[key] = value
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


@torch.no_grad()
def logits_of(model, ids, mask):
    return model(input_ids=ids, attention_mask=mask).logits[mask.bool()]


@torch.no_grad()
def generate(model, prompts):
    """Greedy tokens after left-padded prompts, and the smallest lead of a chosen token."""
    width = max(len(p) for p in prompts)
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    model.generation_config.eos_token_id = None
    out = model.generate(input_ids=ids, attention_mask=mask, do_sample=False, pad_token_id=0,
                         max_new_tokens=NEW_TOKENS, output_logits=True,
                         return_dict_in_generate=True)
    rows = out.sequences[:, width:]
    assert rows.shape == (len(prompts), NEW_TOKENS)
    top = torch.stack(out.logits).topk(2, dim=-1).values
    for prompt, row in zip(prompts, rows.tolist()):  # the same without padding and without a cache
        full = torch.tensor([prompt + row])
        again = model(input_ids=full).logits[0, len(prompt) - 1:-1].argmax(-1)
        assert again.tolist() == row
    return rows.tolist(), (top[..., 0] - top[..., 1]).min().item()


def main():
    folder = golden.start("models", SEED)
    notes = {}
    for number, (name, spec) in enumerate(MODELS.items()):
        generator = torch.Generator().manual_seed(SEED + number)
        config_class, model_class = ((MistralConfig, MistralForCausalLM) if spec.get("mistral")
                                     else (LlamaConfig, LlamaForCausalLM))
        model = model_class(config_class(**spec["config"]))
        randomise(model, generator)
        target = folder / name
        model.to(spec.get("dtype", torch.float32)).save_pretrained(
            target, max_shard_size=spec.get("shard", "1GB"))
        if "old" in spec:
            respell(target / "config.json", spec["old"])

        # Everything below comes from the files just written, read as anyone would read them.
        model = load_model(name)
        lengths = [37, 5, 23, 1] if number % 2 == 0 else [11, 40, 2, 18]
        rows = [torch.randint(3, spec["config"]["vocab_size"], (n,), generator=generator).tolist()
                for n in lengths]
        ids, mask = right_pad(rows)
        logits = logits_of(model, ids, mask)
        double = logits_of(load_model(name, torch.float64), ids, mask)
        alone = torch.cat([logits_of(model, *right_pad([r])) for r in rows])
        assert relative(alone, logits) < 1e-5 and logits.std() > 0.5
        plain = dict(rope_type="default", rope_theta=10000.0)
        if spec["config"]["rope_parameters"] != plain:  # a reader that ignores the setting must fail
            ignored = logits_of(load_model(name, rope_parameters=plain), ids, mask)
            assert relative(ignored, logits) > 1e-2, f"{name}: rope settings hardly matter"
        write_tensors(target / "expected.safetensors",
                      {"ids": ids, "lengths": torch.tensor(lengths), "logits": logits})

        prompts = [torch.randint(3, spec["config"]["vocab_size"], (n,), generator=generator).tolist()
                   for n in (9, 4)]
        outputs, lead = generate(model, prompts)
        assert lead > 1e-3, f"{name}: a greedy choice leads by {lead} only; take another seed"
        write_json(target / "generate.json", {"max_new_tokens": NEW_TOKENS, "prompts": prompts,
                                              "outputs": outputs, "smallest_lead": lead})
        notes[name] = {"logits_std": float(f"{logits.std().item():.2g}"),
                       "difference_to_float64": float(f"{relative(logits, double):.1g}")}
    write_manifest(folder, "models.py", SEED, models=notes)


if __name__ == "__main__":
    main()
