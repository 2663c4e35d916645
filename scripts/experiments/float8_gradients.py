#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""The gradients that `precision: fp8` rounds, in e4m3 as it does and in e5m2, on a real model on the CPU. One JSON object
a kind of layer and format on stdout.

    scripts/experiments/float8_gradients.py --data gsm8k_train.jsonl MODEL

dy is the gradient at a frozen layer's output, W its weight. W is rounded as there: e4m3, a scale a row. Since those scales lie
inside the sum of dx = dy W, they are multiplied into dy, which is then rounded with a scale a token. The error of dx is relative to
dx, in Frobenius norms and fp64. Layers with one input are one product, as there. An adapter takes dy unrounded, so what reaches it is the
error of the dx of all layers above: the second part lets the rounded dx flow on through the whole model, and compares the gradients
of A [rank, in] and B [out, rank], both random, with fp32's. Forward passes round nothing.
"""

import argparse
import json

import torch
import transformers

FORMATS = {"e4m3": (torch.float8_e4m3fn, 448.0), "e5m2": (torch.float8_e5m2, 57344.0)}
TOGETHER = {"q_proj": "q, k, v", "k_proj": "q, k, v", "v_proj": "q, k, v", "gate_proj": "gate, up", "up_proj": "gate, up"}  # one input


def rounded(x, form):
    """x in a float8 format with a scale a row: codes, scales."""
    dtype, largest = FORMATS[form]
    scale = (x.abs().amax(1, keepdim=True) / largest).clamp_min(1e-38)
    scale[scale < 2e-36 / largest] = 1
    return (x / scale).clamp(-largest, largest).to(dtype).to(x.dtype), scale


def product(dy, codes, scales, form):
    """dy W for W = codes * scales, as corda does it, but summed in the type of dy."""
    values, scale = rounded(dy * scales.T, form)
    return values @ codes * scale


class Frozen(torch.autograd.Function):
    """x W^T of unrounded values for the layers that share x, whose backward rounds their gradients side by side."""

    @staticmethod
    def forward(ctx, x, form, *weights):
        ctx.weights, ctx.form = weights, form
        return tuple(x @ w.T for w in weights)

    @staticmethod
    def backward(ctx, *dys):
        dy = torch.cat(dys, -1)
        flat = dy.reshape(-1, dy.shape[-1])
        return product(flat, *rounded(torch.cat(ctx.weights), "e4m3"), ctx.form).view(*dy.shape[:-1], -1), None, *(None for _ in dys)


def relative(x, exact):
    return ((x - exact).norm() / exact.norm()).item()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="GSM8K's training file")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("model")
    given = parser.parse_args()
    torch.manual_seed(0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(given.model)
    model = transformers.AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.float32).eval()
    layers = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and ".layers." in n}
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.get_input_embeddings().register_forward_hook(lambda _, __, out: out.requires_grad_())
    samples = []
    with open(given.data, encoding="utf-8") as lines:
        for _, line in zip(range(given.samples), lines):
            record = json.loads(line)
            question = tokenizer(f"Question: {record['question']}\nAnswer: ")["input_ids"]
            answer = tokenizer(record["answer"], add_special_tokens=False)["input_ids"]
            samples.append((torch.tensor([question + answer]), torch.tensor([[-100] * len(question) + answer])))

    sites = {}
    for name in layers:
        parent, last = name.rsplit(".", 1)
        sites.setdefault((parent, TOGETHER.get(last, last)), []).append(name)

    def gradients(form):
        """Every layer's input and gradient of its output, of all samples."""
        seen = {n: ([], []) for n in layers}

        def catch(names):
            made = {}

            def forward(name, x):
                if form is not None and name == names[0]:
                    made.update(zip(names, Frozen.apply(x, form, *(layers[n].weight for n in names))))
                y = original[name](x) if form is None else made.pop(name) + (0 if layers[name].bias is None else layers[name].bias)
                seen[name][0].append(x.detach()[0])
                y.register_hook(lambda dy: seen[name][1].append(dy.detach()[0]))
                return y
            for name in names:
                layers[name].forward = lambda x, name=name: forward(name, x)

        original = {n: m.forward for n, m in layers.items()}
        for names in sites.values():
            catch(names)
        for ids, labels in samples:
            model(input_ids=ids, labels=labels).loss.backward()
        for name, layer in layers.items():
            layer.forward = original[name]
        return {n: (torch.cat(x), torch.cat(dy)) for n, (x, dy) in seen.items()}

    exact = gradients(None)
    tokens = sum(ids.numel() for ids, _ in samples)
    kinds = {}
    for (_, kind), names in sites.items():
        weight = torch.cat([layers[n].weight for n in names]).double()
        dy = torch.cat([exact[n][1] for n in names], 1).double()
        dy = dy[dy.abs().amax(1) > 0]
        dx = dy @ weight
        codes, scales = rounded(weight, "e4m3")
        row = {"W alone": relative(dy @ (codes * scales), dx)}
        for form in FORMATS:
            values, scale = rounded(dy, form)
            row[f"dy alone, {form}"] = relative(values @ weight * scale, dx)
            row[f"both, {form}"] = relative(product(dy, codes, scales, form), dx)
        kinds.setdefault(kind, []).append(row)
    for kind, rows in [*kinds.items(), ("all", sum(kinds.values(), []))]:
        for what in rows[0]:
            values = [row[what] for row in rows]
            print(json.dumps({"model": given.model.rstrip("/").rsplit("/", 1)[-1], "tokens": tokens, "layers": kind, "rounded": what,
                              "mean": sum(values) / len(values), "largest": max(values)}), flush=True)
    for form in FORMATS:
        errors, cosines = {"A": [], "B": []}, {"A": [], "B": []}
        generator = torch.Generator().manual_seed(0)
        for name, (x, dy) in gradients(form).items():
            into = torch.randn(x.shape[1], given.rank, generator=generator)
            out = torch.randn(dy.shape[1], given.rank, generator=generator)
            x0, dy0 = exact[name]
            for what, got, want in (("A", (dy @ out).T @ x, (dy0 @ out).T @ x0), ("B", dy.T @ (x @ into), dy0.T @ (x0 @ into))):
                errors[what].append(relative(got, want))
                cosines[what].append(torch.nn.functional.cosine_similarity(got.flatten(), want.flatten(), dim=0).item())
        for what in errors:
            print(json.dumps({"model": given.model.rstrip("/").rsplit("/", 1)[-1], "tokens": tokens, "gradient": what, "format": form,
                              "mean": sum(errors[what]) / len(layers), "largest": max(errors[what]), "smallest cosine": min(cosines[what])}), flush=True)


if __name__ == "__main__":
    main()
