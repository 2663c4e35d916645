# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""tests/golden/train: losses, gradients and trained weights of PEFT's LoRA and DoRA on llama3-gqa and of
full fine-tuning, with torch's AdamW."""

import json

import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model
from peft.optimizers import create_loraplus_optimizer

import golden
from golden import load_model, relative, right_pad, write_json, write_manifest, write_tensors

SEED = 20242
MODEL, TIED = "llama3-gqa", "llama-tied"
STEPS, FULL_STEPS, BATCH = 20, 5, 4
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
OPTIM = dict(lr=1e-3, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.01)
MAX_NORM = 1.0
LORA_PLUS_RATIO = 8.0


def make_batches(generator):
    """Prompts and answers of unequal lengths; the third sample of a batch has two answers, the fourth
    supervises everything but its first token. Small ids are the more frequent, so there is something to
    learn."""
    def number(low, high):
        return int(torch.randint(low, high + 1, (1,), generator=generator))

    def sample(kind):
        spans = [(0, number(2, 8)), (1, number(1, 9))]
        if kind == 2:
            spans += [(0, number(1, 4)), (1, number(1, 5))]
        if kind == 3:
            spans = [(0, 1), (1, number(3, 12))]
        mask = [flag for flag, n in spans for _ in range(n)]
        ids = (3 + 93 * torch.rand(len(mask), generator=generator) ** 2).long().tolist()
        return {"ids": ids, "supervised": mask}

    return [[sample(kind) for kind in range(BATCH)] for _ in range(STEPS)]


def loss_of(model, batch):
    """Sum of the losses of the supervised tokens over their number in the whole batch."""
    ids, mask = right_pad([s["ids"] for s in batch])
    supervised, _ = right_pad([s["supervised"] for s in batch])
    logits = model(input_ids=ids, attention_mask=mask).logits
    chosen = supervised[:, 1:].bool()
    return F.cross_entropy(logits[:, :-1][chosen], ids[:, 1:][chosen], reduction="sum") / chosen.sum()


def short_name(name):
    """base_model.model.X.lora_A.default.weight -> X.lora_A; the magnitude's name likewise."""
    for part, short in (("lora_A", "lora_A"), ("lora_B", "lora_B"),
                        ("lora_magnitude_vector", "magnitude")):
        if f".{part}.default" in name:
            return name.removeprefix("base_model.model.").split(f".{part}.")[0] + "." + short
    return name


def trainable(model):
    return {short_name(n): p for n, p in model.named_parameters() if p.requires_grad}


def plain(model):
    return torch.optim.AdamW(trainable(model).values(), **OPTIM, foreach=False)


def lora_plus(model):
    """PEFT's groups: B and the magnitude have LORA_PLUS_RATIO times the rate of A."""
    return create_loraplus_optimizer(
        model, torch.optim.AdamW, lr=OPTIM["lr"], loraplus_lr_ratio=LORA_PLUS_RATIO,
        loraplus_weight_decay=OPTIM["weight_decay"], betas=OPTIM["betas"], eps=OPTIM["eps"], foreach=False)


def train(make_model, batches, max_norm, make_optimizer=plain):
    """What one run gives: losses, gradient norms before clipping, first gradients, last weights."""
    model = make_model().train()
    parameters = trainable(model)
    optimizer = make_optimizer(model)
    losses, norms, gradients = [], [], None
    for batch in batches:
        optimizer.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        if gradients is None:
            gradients = {n: p.grad.clone() for n, p in parameters.items()}
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), max_norm or float("inf"))
        optimizer.step()
        losses.append(loss.item())
        norms.append(norm.item())
    return losses, norms, gradients, {n: p.detach() for n, p in parameters.items()}


def record(make_model, batches):
    """The run with clipping and the losses without it; how far fp32 is from fp64 in each."""
    losses, norms, gradients, final = train(lambda: make_model(torch.float32), batches, MAX_NORM)
    wide = train(lambda: make_model(torch.float64), batches, MAX_NORM)
    free = train(lambda: make_model(torch.float32), batches, None)
    assert min(norms) > MAX_NORM, "a step was not clipped"

    def steps(values):
        return torch.tensor(values, dtype=torch.float64)

    numbers = {"max_norm": MAX_NORM, "losses": losses, "grad_norms": norms,
               "losses_without_clipping": free[0], "grad_norms_without_clipping": free[1]}
    distance = {
        "losses": relative(steps(losses), steps(wide[0])),
        "grad_norms": relative(steps(norms), steps(wide[1])),
        "gradients": max(relative(gradients[n], wide[2][n]) for n in gradients),
        "final_absolute": max((final[n].double() - wide[3][n]).abs().max().item() for n in final),
    }
    return numbers, gradients, final, {k: float(f"{v:.1g}") for k, v in distance.items()}


def write_adapter(folder, dora, generator):
    """An adapter as PEFT saves it, with a B that is not zero and, for DoRA, a magnitude that is not the
    norm of the rows."""
    torch.manual_seed(SEED)
    model = get_peft_model(load_model(MODEL), LoraConfig(
        r=4, lora_alpha=8, target_modules=TARGETS, use_dora=dora, task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, p in trainable(model).items():
            noise = torch.randn(p.shape, generator=generator)
            if name.endswith("lora_B"):
                p.copy_(0.1 * noise)
            elif name.endswith("magnitude"):
                p.mul_(1 + 0.1 * noise)
    model.peft_config["default"].base_model_name_or_path = MODEL
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["target_modules"].sort()  # a set inside PEFT
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def main():
    folder = golden.start("train", SEED)
    generator = torch.Generator().manual_seed(SEED)
    batches = make_batches(generator)
    write_json(folder / "batches.json", {"optim": OPTIM, "batches": batches})
    counts = [sum(sum(s["supervised"]) for s in b) for b in batches]
    distances = {}

    for kind in ("lora", "dora"):
        adapter = folder / f"adapter-{kind}"
        write_adapter(adapter, kind == "dora", generator)

        def adapted(dtype):
            model = PeftModel.from_pretrained(load_model(MODEL, dtype), adapter, is_trainable=True)
            return model.to(dtype)

        numbers, gradients, final, distances[kind] = record(adapted, batches)
        plus = train(lambda: adapted(torch.float32), batches, MAX_NORM, lora_plus)
        numbers |= {"lora_plus_ratio": LORA_PLUS_RATIO, "losses_lora_plus": plus[0],
                    "grad_norms_lora_plus": plus[1]}
        write_json(folder / f"{kind}.json", {"model": MODEL, "steps": STEPS,
                                             "supervised_tokens": counts, **numbers})
        write_tensors(folder / f"{kind}-gradients.safetensors", gradients)
        write_tensors(folder / f"{kind}-final.safetensors", final)

    for name in (MODEL, TIED):
        def whole(dtype):
            return load_model(name, dtype)

        numbers, gradients, _, distances[f"full-{name}"] = record(whole, batches[:FULL_STEPS])
        write_json(folder / f"full-{name}.json",
                   {"model": name, "steps": FULL_STEPS, "supervised_tokens": counts[:FULL_STEPS],
                    **numbers})
        if name == TIED:
            assert "lm_head.weight" not in gradients
            write_tensors(folder / f"full-{name}-gradients.safetensors", gradients)
    write_manifest(folder, "train.py", SEED, difference_to_float64=distances)


if __name__ == "__main__":
    main()
