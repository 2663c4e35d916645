# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""tests/golden/families: what transformers and PEFT compute for tiny models of every family, whose weights are a
function of tensor name and element."""

import copy
import json
import math
import random
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

import golden
from covariance import peft_covariances
from family_configs import MODELS, ORIGINAL, WINDOW
from golden import relative, right_pad, write_json, write_manifest, write_tensors

SEED = 20246
WEIGHTS, FACTORS, PROBES = 0.3, 0.2, 1.0  # the largest value of each kind of tensor
LENGTHS = [21, 6, 13]
IDS = range(3, 60)  # the rest are special tokens of the wrappers
NEW_TOKENS = 12
RANK, ALPHA = 2, 4
AROUND_ZERO = ("gemma", "gemma2", "gemma3", "gemma3_text")  # their norms multiply by 1 + w
COVARIANCES = ("qwen3", "gemma3-text", "phi3")
assert WINDOW < sorted(LENGTHS)[1] < ORIGINAL < max(LENGTHS)


def fnv1a(text):
    h = 2166136261
    for byte in text.encode():
        h = (h ^ byte) * 16777619 & 0xffffffff
    return h


def hashed(name, shape, size):
    """fp32 values between -size and size; every element its own."""
    mask = np.uint64(0xffffffff)
    x = (np.arange(math.prod(shape), dtype=np.uint64) * np.uint64(2654435761) + np.uint64(fnv1a(name))) & mask
    for factor in (0x45d9f3b, 0x45d9f3b, 1):
        x ^= x >> np.uint64(16)
        x = x * np.uint64(factor) & mask
    return torch.from_numpy(((x / 2.0**32 - 0.5) * 2 * size).astype(np.float32)).reshape(shape)


def weight(name, shape, norm_base):
    values = hashed(name, shape, WEIGHTS)
    return norm_base + 0.5 * values if name.endswith("norm.weight") else values


class Tiny:
    """A model in a folder of its own, loaded as anyone loads it."""

    def __init__(self, name, config, folder):
        self.name, self.config, self.folder = name, config, folder
        self.wrapper = "text_config" in config
        self.text = config.get("text_config", config)
        self.norm_base = 0 if config["model_type"] in AROUND_ZERO else 1
        self.write_config(folder, config)
        kind = self.auto().from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)
        kind.save_pretrained(folder / "names")
        with safe_open(folder / "names" / "model.safetensors", "pt") as f:
            self.shapes = {k: list(f.get_slice(k).get_shape()) for k in sorted(f.keys())}
        self.write_weights(lambda k: k)
        rope = self.text.get("rope_parameters") or self.text.get("rope_scaling") or {}
        longrope = ("longrope", "su", "yarn") if config["model_type"] == "phi3" else ("longrope",)
        self.batch_dependent = rope.get("rope_type", rope.get("type")) in ("dynamic", *longrope)

    def auto(self):
        return AutoModelForImageTextToText if self.wrapper else AutoModelForCausalLM

    @staticmethod
    def write_config(folder, config):
        folder.mkdir(exist_ok=True)
        write_json(folder / "config.json", config)

    def write_weights(self, rename):
        write_tensors(self.folder / "model.safetensors",
                      {rename(k): weight(k, s, self.norm_base) for k, s in self.shapes.items()})

    def load(self, dtype=torch.float32):
        model, info = self.auto().from_pretrained(self.folder, dtype=dtype, attn_implementation="eager",
                                                  output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"], (self.name, info)
        return model.eval()

    def changed(self, change):
        """The same weights with some keys of the configuration replaced."""
        self.write_config(self.folder, dict(self.config, **change))
        model = self.auto().from_pretrained(self.folder, dtype=torch.float32, attn_implementation="eager").eval()
        self.write_config(self.folder, self.config)
        return model


@torch.no_grad()
def alone(load, rows):
    """Logits of each sequence by itself; a fresh model each, because stretching may keep a state."""
    return [load()(input_ids=torch.tensor([r])).logits[0] for r in rows]


@torch.no_grad()
def together(model, rows):
    ids, mask = right_pad(rows)
    logits = model(input_ids=ids, attention_mask=mask).logits
    return [x[:len(r)] for x, r in zip(logits, rows)]


def positions_of(n):
    """Of the longest sequence also the first token and one in the middle."""
    return [0, n // 2, n - 2, n - 1] if n == max(LENGTHS) else [n - 2, n - 1]


def chosen(logits):
    return [[[short(v) for v in x[p].tolist()] for p in positions_of(len(x))] for x in logits]


def short(value):
    return float(f"{value:.7g}")


def logits_of(tiny, rows, matters):
    """The part of the golden that is about logits, and how far other precisions are."""
    logits = alone(tiny.load, rows)
    packed = together(tiny.load(), rows)
    flat = torch.cat(logits)
    result = {"ids": rows, "positions": [positions_of(n) for n in LENGTHS], "logits": chosen(logits)}
    if tiny.batch_dependent:
        assert relative(packed[0], logits[0]) < 1e-5 and relative(packed[2], logits[2]) > 1e-3, tiny.name
    else:
        assert relative(torch.cat(packed), flat) < 1e-5, tiny.name
    for change in matters:
        other = torch.cat(alone(lambda: tiny.changed(change), rows))
        assert relative(other, flat) > 1e-3, f"{tiny.name}: {change} hardly matters"
    result["mean_log_likelihood"] = [
        short(-F.cross_entropy(x[:-1].double(), torch.tensor(r[1:])).item()) for x, r in zip(logits, rows)]
    bf16 = alone(lambda: tiny.load(torch.bfloat16), rows)
    error = torch.cat([(b.double() - x.double())[positions_of(len(x))] for b, x in zip(bf16, logits)])
    result["bf16"] = {"max": short(error.abs().max().item()), "rms": short(error.square().mean().sqrt().item())}
    double = torch.cat(alone(lambda: tiny.load(torch.float64), rows))
    distance = relative(flat, double)
    assert distance < 2e-6 and flat.std() > 0.3, (tiny.name, distance, flat.std())
    notes = {"logits_std": float(f"{flat.std().item():.2g}"), "difference_to_float64": float(f"{distance:.1g}")}
    return result, flat, notes


def greedy(model, prompts):
    """Tokens after left-padded prompts with a cache, and the smallest lead of a chosen token."""
    width = max(len(p) for p in prompts)
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    model.generation_config.eos_token_id = None
    out = model.generate(input_ids=ids, attention_mask=mask, do_sample=False, pad_token_id=0, max_new_tokens=NEW_TOKENS,
                         output_logits=True, return_dict_in_generate=True)
    top = torch.stack(out.logits).topk(2, dim=-1).values
    rows = out.sequences[:, width:].tolist()
    assert [len(r) for r in rows] == [NEW_TOKENS] * len(prompts)
    return rows, (top[..., 0] - top[..., 1]).min().item()


@torch.no_grad()
def without_cache(load, prompts):
    """As `greedy`, for one prompt, from the logits of the whole sequence each time. transformers 5.17 drops the cache
    where the factors of longrope change, and then goes on from one token without those before it."""
    sequence, leads = list(prompts[0]), []
    for _ in range(NEW_TOKENS):
        top = load()(input_ids=torch.tensor([sequence])).logits[0, -1].topk(2)
        leads.append((top.values[0] - top.values[1]).item())
        sequence.append(top.indices[0].item())
    return [sequence[len(prompts[0]):]], min(leads)


@torch.no_grad()
def generate(tiny, lengths, draw, cached=True):
    """Of some drawn prompts those whose continuation is decided most clearly. Where the rotation depends on the
    longest sequence, each prompt runs by itself."""
    best = None
    for _ in range(20):
        prompts = [draw.choices(IDS, k=n) for n in lengths]
        groups = [[p] for p in prompts] if tiny.batch_dependent else [prompts]
        found = [greedy(tiny.load(), group) if cached else without_cache(tiny.load, group) for group in groups]
        rows, lead = sum((f[0] for f in found), []), min(f[1] for f in found)
        if best is None or lead > best["smallest_lead"]:
            best = {"prompts": prompts, "outputs": rows, "smallest_lead": lead}
        if lead > 0.02:
            break
    assert best["smallest_lead"] > 2e-3, (tiny.name, best["smallest_lead"])
    if not tiny.batch_dependent:
        for prompt, row in zip(best["prompts"], best["outputs"]):  # the same without padding and without a cache
            again = tiny.load()(input_ids=torch.tensor([prompt + row])).logits[0, len(prompt) - 1:-1].argmax(-1)
            assert again.tolist() == row, tiny.name
    best["smallest_lead"] = short(best["smallest_lead"])
    return {"max_new_tokens": NEW_TOKENS, "one_by_one": tiny.batch_dependent, **best}


def probed(name, values):
    """Two numbers that no wrong element leaves alone: the norm, and the product with a tensor of the name."""
    values = values.double()
    probe = hashed(name + ".probe", list(values.shape), PROBES).double()
    return [short(values.norm().item()), short((values * probe).sum().item())]


def gradients(tiny, rows):
    base = tiny.load()
    tower = [n for n, m in base.named_modules() if isinstance(m, torch.nn.Linear) and ".language_model." in n]
    model = get_peft_model(base, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=tower if tiny.wrapper else "all-linear",
                                            task_type="CAUSAL_LM"))
    factors = {}
    for full, p in model.named_parameters():
        if not p.requires_grad:
            continue
        module, factor = full.removeprefix("base_model.model.").removesuffix(".default.weight").rsplit(".", 1)
        with torch.no_grad():
            p.copy_(hashed(f"{module}.{factor}", list(p.shape), FACTORS))
        factors.setdefault(module, {})[factor] = p
    assert not any("lm_head" in m for m in factors)
    count = sum(len(r) - 1 for r in rows)
    loss = 0
    for row in rows:  # each alone, which the sum does not see
        ids = torch.tensor([row])
        part = F.cross_entropy(model(input_ids=ids).logits[0, :-1], ids[0, 1:], reduction="sum") / count
        part.backward()
        loss += part.item()
    return {"rank": RANK, "alpha": ALPHA, "loss": short(loss), "modules": {
        m: {f: probed(f"{m}.{f}", p.grad) for f, p in sorted(pair.items())} for m, pair in factors.items()}}


def covariances(tiny, rows):
    names = [n for n, m in tiny.load().named_modules() if isinstance(m, torch.nn.Linear) and "lm_head" not in n]
    found = peft_covariances(tiny.load(), rows, sorted({n.rsplit(".", 1)[1] for n in names}))
    assert sorted(found) == sorted(names)
    return {n: probed(n, found[n]) for n in names}


def spellings(tiny, flat, rows):
    """The prefixes of a wrapper's text tower in files: that which transformers writes for a new model, and the other
    one that it reads."""
    outer, inner = "language_model.model.", "model.language_model."

    def inside(k):
        if k.startswith("language_model.lm_head."):
            return k.removeprefix("language_model.")
        return inner + k.removeprefix(outer) if k.startswith(outer) else "model." + k

    if any(k.startswith(inner) for k in tiny.shapes):
        return [inner]
    tiny.write_weights(inside)
    assert relative(torch.cat(alone(tiny.load, rows)), flat) < 1e-6, tiny.name
    return [outer, inner]


def make(name, entry, target, folder, originals):
    draw = random.Random(f"{SEED} {entry.get('same_as', name)}")
    rows = [draw.choices(IDS, k=n) for n in LENGTHS]
    tiny = Tiny(name, entry["config"], folder)
    expected, flat, notes = logits_of(tiny, rows, entry["matters"])
    Tiny.write_config(target, entry["config"])
    if "same_as" in entry:
        assert relative(flat, originals[entry["same_as"]]) < 1e-6, (name, relative(flat, originals[entry["same_as"]]))
        write_json(target / "expected.json", {"same_as": entry["same_as"]})
        return notes
    originals[name] = flat
    lines = "".join(f"{k} {','.join(map(str, s))}\n" for k, s in tiny.shapes.items())
    expected = {"norm_base": tiny.norm_base, "tensors": {"count": len(tiny.shapes), "fnv1a": fnv1a(lines)}, **expected}
    if tiny.wrapper:
        expected["tensors"]["shapes"] = tiny.shapes
        expected["prefixes"] = spellings(tiny, flat, rows)
    expected["gradients"] = gradients(tiny, rows)
    lengths = (19, 3) if tiny.batch_dependent else (13, 4)
    expected["generate"] = generate(tiny, lengths, draw)
    if tiny.config["model_type"] == "phi3" and tiny.batch_dependent:
        expected["generate_across"] = generate(tiny, (11,), draw, cached=False)  # from short to long factors on the way
    if name in COVARIANCES:
        expected["covariances"] = covariances(tiny, rows)
    write_json(target / "expected.json", expected)
    return dict(notes, bf16=expected["bf16"]["max"])


def main():
    folder = golden.start("families", SEED)
    originals, notes = {}, {}
    for name, entry in MODELS.items():
        with tempfile.TemporaryDirectory() as temporary:
            notes[name] = make(name, copy.deepcopy(entry), folder / name, Path(temporary) / "model", originals)
    write_manifest(folder, "families.py", SEED, models=notes)


if __name__ == "__main__":
    main()
