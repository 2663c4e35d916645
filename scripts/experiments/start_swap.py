#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PEFT on nano-qa-11m, one thing swapped at a time: why does its result differ from corda's?

--mode kpa and ipa swap the adapter's start; lora, pissa and full (with --lr of its own) swap only the last batch.

Everything but the start of the adapter is PEFT's and the same in every row: covariances, training script, seeds, evaluation.
  fp32    PEFT's own decomposition, in fp32
  tf32    the same with TF32 products allowed, in the covariances too
  fp64    PEFT's covariances, its formula in fp64 (damping 0.01)
  corda   PEFT's covariances, decomposed by `corda decompose`
  draw    covariances of `corda calibrate` (another draw of windows or samples), decomposed by `corda decompose`
  whole   the start of 'corda', but trained and evaluated by corda too
  draw-N  corda alone, calibrated with seed N of --draws: what another draw is worth
'drop' leaves out the last, smaller batch of each epoch, 'keep' trains on it as corda does.

Needs transformers, PEFT and the folder that `scripts/experiments/nano_qa.sh --prepare` makes. Results: one JSON object a line.
"""
import argparse
import fnmatch
import json
import math
import multiprocessing
import pathlib
import random
import re
import string
import subprocess
import sys
import time
import traceback

import torch
import torch.nn.functional as F

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PROMPT = ("Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
          "### Instruction:\n{}\n\n### Response:")
RANK = 32
TASK = ["--format", "alpaca", "--columns", "instruction=question,output=answer", "--template", "alpaca", "--seq-len", "512"]
STARTS = ("fp32", "fp64", "corda", "draw", "tf32")
SITES = {"q_proj": "self_attn.input", "k_proj": "self_attn.input", "v_proj": "self_attn.input", "o_proj": "self_attn.o_proj.input",
         "gate_proj": "mlp.input", "up_proj": "mlp.input", "down_proj": "mlp.down_proj.input"}


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def load_model(args):
    from transformers import LlamaForCausalLM
    return LlamaForCausalLM.from_pretrained(args.work / "model", dtype=torch.float32).to(args.device)


def load_tokenizer(args):
    from transformers import PreTrainedTokenizerFast
    return PreTrainedTokenizerFast.from_pretrained(args.work / "model")


def lora_config(args, cache, covariance=None):
    from peft import LoraConfig
    from peft.tuners.lora.config import CordaConfig
    method = {"kpa": "kpm", "ipa": "ipm"}[args.mode]
    return LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(TARGETS), init_lora_weights="corda",
                      corda_config=CordaConfig(corda_method=method, cache_file=str(cache), covariance_file=covariance and str(covariance)))


# ---- The starts ----

def calibration(args, tokenizer):
    """Token ids of PEFT's calibration: windows of questions for KPA, training samples for IPA."""
    if args.mode == "ipa":
        return [ids for ids, _ in random.Random(6).sample(samples(args, tokenizer, "gsm8k_train.jsonl"), args.windows)]
    text = "\n\n".join(row["question"] for row in rows(args.work / "data" / "nq_dpr.jsonl"))
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    draw = random.Random(5)
    begins = [draw.randrange(len(ids) - 256) for _ in range(args.windows)]
    return [ids[begin:begin + 256] for begin in begins]


def peft_start(args, folder, tf32):
    """PEFT's preprocess_corda as it is; leaves its covariances and eigens in the folder."""
    from peft.tuners.lora.corda import preprocess_corda
    folder.mkdir(parents=True, exist_ok=True)
    torch.backends.cuda.matmul.allow_tf32 = tf32
    model, tokenizer = load_model(args), load_tokenizer(args)

    def run_model():
        for ids in calibration(args, tokenizer):
            model(torch.tensor([ids], device=args.device))

    preprocess_corda(model, lora_config(args, folder / "eigens.pt", folder / "covariances.pt"), run_model=run_model)
    torch.backends.cuda.matmul.allow_tf32 = False


def damped(covariance):
    c = covariance.double()
    return c + 0.01 * c.diagonal().mean() * torch.eye(len(c), dtype=c.dtype, device=c.device)


def chosen(args):
    """Which components of a descending SVD the mode takes."""
    return slice(-RANK, None) if args.mode == "kpa" else slice(RANK)


def fp64_start(args, folder, covariances):
    """PEFT's formula without its rounding: SVD(W C~) in fp64, the smallest (KPA) or largest (IPA) components."""
    folder.mkdir(parents=True, exist_ok=True)
    eigens = {}
    for name, module in load_model(args).named_modules():
        if name not in covariances:
            continue
        c = damped(covariances[name]).cpu()
        u, s, vh = torch.linalg.svd(module.weight.data.double().cpu() @ c, full_matrices=False)
        v = torch.linalg.solve(c, vh[chosen(args)].T)
        for key, value in (("S_WC", s[chosen(args)]), ("U_WC", u[:, chosen(args)]), ("V_WC", v)):
            eigens[f"{name}.eigens.{key}"] = value.float().contiguous()
    torch.save(eigens, folder / "eigens.pt")


def corda_calibrate(args, folder, seed):
    data = ["--data", str(args.work / "data" / "gsm8k_train.jsonl"), *TASK] if args.mode == "ipa" else [
        "--data", str(args.work / "data" / "nq_dpr.jsonl"), "--format", "qa", "--qa-text", "question", "--seq-len", "256"]
    subprocess.run([args.corda, "calibrate", "--model", str(args.work / "model"), *data, "--samples", str(args.windows), "--seed", str(seed),
                    "--device", args.device, "--dtype", "fp32", "--out", str(folder), "--quiet"], check=True)


def corda_decompose(args, folder, covariance_directory):
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([args.corda, "decompose", "--model", str(args.work / "model"), "--covariance", str(covariance_directory), "--mode", args.mode,
                    "--rank", str(RANK), "--alpha", str(RANK), "--device", args.device, "--out", str(folder / "adapter"), "--quiet"], check=True)


def corda_start(args, folder, covariance_directory):
    """`corda decompose`; its start A0, B0 stands in PEFT's eigens with all singular values one."""
    from safetensors.torch import load_file
    corda_decompose(args, folder, covariance_directory)
    eigens = {}
    tensors = load_file(folder / "adapter" / "adapter_model.safetensors", device=args.device)
    for key, a in tensors.items():
        if not key.endswith(".lora_A.weight"):
            continue
        name = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        b = tensors[key.replace("lora_A", "lora_B")]
        # The file holds [B - B0, B0] and [A; A - A0]; at the start the differences are zero.
        assert a[RANK:].abs().max() == 0 and b[:, :RANK].abs().max() == 0
        eigens[f"{name}.eigens.U_WC"] = b[:, RANK:].contiguous()
        eigens[f"{name}.eigens.V_WC"] = a[:RANK].T.contiguous()
        eigens[f"{name}.eigens.S_WC"] = torch.ones(RANK, device=args.device)
    torch.save(eigens, folder / "eigens.pt")


def write_covariance_directory(folder, covariances, like):
    """PEFT's covariances as a directory that corda reads; `like` is one that corda wrote for the same model."""
    from safetensors.torch import save_file
    folder.mkdir(parents=True, exist_ok=True)
    manifest = json.loads((like / "manifest.json").read_text(encoding="utf-8"))
    for name, site in manifest["sites"].items():
        module = site["modules"][0]
        site.update(storage="full", file=f"{name}.safetensors")
        save_file({name: covariances[module].float().cpu().contiguous()}, folder / site["file"])
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def compare(args, starts, covariances):
    """For every start, over the layers: ||U^T W C~||_F over the optimum, and how far B0 A0 is from U U^T W (relative)."""
    weights = {name: module.weight.data.double() for name, module in load_model(args).named_modules() if name in covariances}
    exact = torch.load(starts["fp64"] / "eigens.pt", map_location=args.device)
    result = {}
    for variant, folder in starts.items():
        eigens = torch.load(folder / "eigens.pt", map_location=args.device)
        energy, product = [], []
        for name, w in weights.items():
            u, s, v = (eigens[f"{name}.eigens.{key}"].double() for key in ("U_WC", "S_WC", "V_WC"))
            q = torch.linalg.qr(u)[0]
            energy.append(((q.T @ w @ damped(covariances[name])).norm() / exact[f"{name}.eigens.S_WC"].double().norm()).item())
            product.append(((u * s @ v.T - q @ (q.T @ w)).norm() / (q.T @ w).norm()).item())
        spread = lambda values: {"median": sorted(values)[len(values) // 2], "most": max(values)}
        result[variant] = {"energy_over_optimum": spread(energy), "product_error": spread(product)}
    return result


def peft_damping(args, covariances):
    """The damping at which PEFT's fp32 check lets go, and how often."""
    counts = {}
    for c in covariances.values():
        damp = 0.01
        while True:
            fixed = c.float() + torch.diag(torch.ones(len(c), device=c.device) * c.float().diagonal().mean() * damp)
            if torch.dist(fixed @ torch.linalg.inv(fixed), torch.eye(len(c), device=c.device)).item() < 0.05:
                break
            damp *= 2
        counts[damp] = counts.get(damp, 0) + 1
    return counts


def make_starts(args):
    """Folders with an eigens.pt for every start that could be made, and what they are like."""
    starts = {variant: args.scratch / variant for variant in STARTS}

    def attempt(variant, function, *arguments):
        begin = time.time()
        try:
            function(*arguments)
        except Exception:
            traceback.print_exc()
            del starts[variant]
        print(f"start {variant}: {time.time() - begin:.1f} s", file=sys.stderr, flush=True)

    attempt("fp32", peft_start, args, starts["fp32"], False)
    covariances = torch.load(args.scratch / "fp32" / "covariances.pt", map_location=args.device)
    attempt("tf32", peft_start, args, starts["tf32"], True)
    attempt("fp64", fp64_start, args, starts["fp64"], covariances)

    def draw():
        corda_calibrate(args, args.scratch / "covariance-draw", 233)
        corda_start(args, args.scratch / "draw", args.scratch / "covariance-draw")

    def another_draw(seed):
        corda_calibrate(args, args.scratch / f"covariance-draw-{seed}", seed)
        corda_decompose(args, args.scratch / f"draw-{seed}", args.scratch / f"covariance-draw-{seed}")

    def corda():
        write_covariance_directory(args.scratch / "covariance-peft", covariances, args.scratch / "covariance-draw")
        corda_start(args, args.scratch / "corda", args.scratch / "covariance-peft")

    attempt("draw", draw)
    attempt("corda", corda)
    report = {"peft_damping": peft_damping(args, covariances), "starts": compare(args, starts, covariances)}
    print(json.dumps(report), flush=True)
    for seed in args.draws:
        starts[f"draw-{seed}"] = args.scratch / f"draw-{seed}"
        attempt(f"draw-{seed}", another_draw, seed)
    return starts, report


# ---- Training and evaluation ----

def encoded(tokenizer, rows, prefix):
    """Ids and labels of alpaca's prompt and the answer, as corda's template makes them; `prefix` stands in front."""
    encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
    result = []
    for row in rows:
        prompt = prefix + encode(PROMPT.format(row["question"]))
        answer = encode(" " + row["answer"]) + [tokenizer.eos_token_id]
        result.append(((prompt + answer)[:512], ([-100] * len(prompt) + answer)[:512]))
    return result


def samples(args, tokenizer, file):
    return encoded(tokenizer, rows(args.work / "data" / file), [tokenizer.eos_token_id])


def collate(batch, pad, device):
    width = max(len(ids) for ids, _ in batch)
    ids = torch.full((len(batch), width), pad)
    labels = torch.full((len(batch), width), -100)
    mask = torch.zeros(len(batch), width, dtype=torch.long)
    for i, (row, label) in enumerate(batch):
        ids[i, :len(row)], labels[i, :len(label)], mask[i, :len(row)] = torch.tensor(row), torch.tensor(label), 1
    return ids.to(device), labels.to(device), mask.to(device)


def fine_tune(args, model, data, pad, rate, seed, drop):
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    order, shuffle = list(range(len(data))), random.Random(seed)
    batch, epochs = 32, 2
    per_epoch = len(data) // batch if drop else math.ceil(len(data) / batch)
    total = min(per_epoch * epochs, args.max_steps or per_epoch * epochs)
    warmup, step = math.ceil(0.03 * total), 0
    for _ in range(epochs):
        shuffle.shuffle(order)
        for i in range(per_epoch):
            if step == total:
                return total
            progress = (step - warmup) / (total - warmup)
            for group in optimizer.param_groups:
                group["lr"] = rate * (step / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * progress)))
            ids, labels, mask = collate([data[j] for j in order[i * batch:(i + 1) * batch]], pad, args.device)
            with torch.autocast(args.device.split(":")[0], dtype=torch.bfloat16):
                loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
    return total


@torch.no_grad()
def task_loss(args, model, data, pad, at_a_time=128):
    model.eval()
    total = count = 0
    for i in range(0, len(data), at_a_time):
        ids, labels, mask = collate(data[i:i + at_a_time], pad, args.device)
        with torch.autocast(args.device.split(":")[0], dtype=torch.bfloat16):
            logits = model(input_ids=ids, attention_mask=mask).logits
        total += F.cross_entropy(logits[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="sum").item()
        count += (labels[:, 1:] != -100).sum().item()
    return total / count


def normalized(text):
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


@torch.no_grad()
def knowledge(args, model, tokenizer):
    model.eval()
    tokenizer.padding_side = "left"
    questions, hits = rows(args.work / "data" / "knowledge.jsonl")[:args.questions or None], 0
    for i in range(0, len(questions), 600):
        part = questions[i:i + 600]
        batch = tokenizer([f"<|endoftext|>Question: {row['question']}\nAnswer:" for row in part], return_tensors="pt", padding=True,
                          add_special_tokens=False).to(args.device)
        with torch.autocast(args.device.split(":")[0], dtype=torch.bfloat16):
            output = model.generate(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], max_new_tokens=16, do_sample=False,
                                    pad_token_id=tokenizer.pad_token_id)
        for row, ids in zip(part, output[:, batch["input_ids"].shape[1]:].tolist()):
            if tokenizer.eos_token_id in ids:
                ids = ids[:ids.index(tokenizer.eos_token_id)]
            hits += normalized(tokenizer.decode(ids)) in [normalized(answer) for answer in row["answer"]]
    return 100 * hits / len(questions)


def adapted(args, start):
    """The model as PEFT trains it; every weight of it for full."""
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora.corda import preprocess_corda
    model = load_model(args)
    if args.mode == "full":
        return model
    if start is None:
        init = {"lora": True, "pissa": "pissa"}[args.mode]
        return get_peft_model(model, LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(TARGETS), init_lora_weights=init))
    config = lora_config(args, start / "eigens.pt")
    preprocess_corda(model, config)
    return get_peft_model(model, config)


def peft_run(args, start, drop, rate, seed):
    torch.set_num_threads(2)
    torch.manual_seed(seed)
    model, tokenizer = adapted(args, start), load_tokenizer(args)
    steps = fine_tune(args, model, samples(args, tokenizer, "gsm8k_train.jsonl"), tokenizer.pad_token_id, rate, seed, drop)
    test = samples(args, tokenizer, "gsm8k_test.jsonl")[:args.questions or None]
    return steps, task_loss(args, model, test, tokenizer.pad_token_id), knowledge(args, model, tokenizer)


def corda_run(args, start, rate, seed):
    """The same job with corda, its settings those of configs/nano-qa/kpa.yaml and ipa.yaml."""
    out = start / f"whole-{seed}"
    files = args.work / "data"
    config = start / f"whole-{seed}.yaml"
    config.write_text(f"""
model: {args.work / "model"}
method: corda
adapter: {start / "adapter"}
data: {{train: [{{path: {files / "gsm8k_train.jsonl"}, format: alpaca, columns: {{instruction: question, output: answer}}}}], template: alpaca, max_length: 512}}
optim: {{lr: {rate}, schedule: cosine, warmup_ratio: 0.03, weight_decay: 0.0, grad_clip: 0.0, epochs: 2, batch_size: 32, micro_batch_tokens: 16384}}
precision: {"fp32" if args.device == "cpu" else "bf16"}
seed: {seed}
out: {out}
""", encoding="utf-8")

    def corda(*arguments):
        call = [args.corda, *arguments, "--device", args.device, "--threads", "2", "--json", "--quiet"]
        return json.loads(subprocess.run(call, stdout=subprocess.PIPE, check=True).stdout)

    trained = corda("train", "--config", str(config), *(["--set", f"optim.max_steps={args.max_steps}"] if args.max_steps else []))
    evaluate = ["eval", "--model", str(args.work / "model"), "--adapter", str(out / "adapter")]
    few = ["--samples", str(args.questions)] if args.questions else []
    loss = corda(*evaluate, "--task", "perplexity", "--data", str(files / "gsm8k_test.jsonl"), *TASK, *few)
    kept = corda(*evaluate, "--task", "qa", "--data", str(files / "knowledge.jsonl"), "--format", "qa", *few)
    return trained["steps"], loss["nll"], kept["score"]


def run(job):
    args, start, variant, drop, rate, seed = job
    result = {"decomposition": variant, "last_batch": "drop" if drop else "keep", "lr": rate, "seed": seed}
    if time.time() > args.deadline:
        return None
    begin = time.time()
    try:
        own = variant == "whole" or variant.startswith("draw-")
        steps, loss, kept = corda_run(args, start, rate, seed) if own else peft_run(args, start, drop, rate, seed)
        return {**result, "steps": steps, "gsm8k_nll": round(loss, 4), "knowledge": round(kept, 2), "seconds": round(time.time() - begin, 1)}
    except Exception:
        return {**result, "error": traceback.format_exc().strip().splitlines()[-1]}


def table(results):
    groups = {}
    for result in results:
        if "error" not in result:
            groups.setdefault((result["decomposition"], result["last_batch"], result["lr"]), []).append(result)
    print(f"{'decomposition':14} {'last batch':10} {'lr':>6} {'seeds':>5} {'GSM8K NLL (spread)':>20} {'knowledge % (spread)':>22}")
    for (variant, last, rate), found in sorted(groups.items()):
        loss, kept = ([row[key] for row in found] for key in ("gsm8k_nll", "knowledge"))
        spread = lambda values, digits: f"{sum(values) / len(values):.{digits}f} ({max(values) - min(values):.{digits}f})"
        print(f"{variant:14} {last:10} {rate:6g} {len(found):5} {spread(loss, 4):>20} {spread(kept, 1):>22}")


def swaps_of_start(args):
    """(name, start, last batch dropped) of every row, and what the starts are like."""
    begin = time.time()
    starts, report = make_starts(args)
    print(f"starts made in {time.time() - begin:.0f} s", file=sys.stderr, flush=True)
    plan = [(variant, drop) for drop in (True, False) for variant in STARTS if drop or variant in ("fp32", "fp64", "draw")]
    plan = [(variant, starts[variant], drop) for variant, drop in plan if variant in starts]
    if "corda" in starts:
        plan.append(("whole", starts["corda"], False))
    return plan + [(variant, start, False) for variant, start in starts.items() if variant not in STARTS], report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corda", default="build/cpu/bin/corda")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/nano-qa"), help="folder with model/ and data/")
    parser.add_argument("--scratch", type=pathlib.Path, default=pathlib.Path("runs/start-swap"), help="must be new")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("start-swap.jsonl"))
    parser.add_argument("--mode", choices=("kpa", "ipa", "lora", "pissa", "full"), default="kpa")
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=["*"], help="runs whose name matches, such as 'tf32-drop-*'")
    parser.add_argument("--draws", type=int, nargs="*", default=[], help="seeds of further calibrations by corda, for rows of corda alone")
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--limit", type=float, default=0, help="seconds after which no further run is started")
    parser.add_argument("--windows", type=int, default=256, help="of the calibration")
    parser.add_argument("--max-steps", type=int, default=0, help="for a rehearsal")
    parser.add_argument("--questions", type=int, default=0, help="for a rehearsal")
    args = parser.parse_args()
    begin = time.time()
    args.deadline = begin + (args.limit or 1e9)
    plan, report = swaps_of_start(args) if args.mode in ("kpa", "ipa") else ([(args.mode, None, drop) for drop in (True, False)], {})
    wanted = lambda name: any(fnmatch.fnmatch(name, pattern) for pattern in args.only)
    # Seeds last, so that an interrupted experiment has every row at least once.
    jobs = [(args, start, variant, drop, args.lr, seed) for seed in range(args.seeds) for variant, start, drop in plan
            if wanted(f"{variant}-{'drop' if drop else 'keep'}-{seed}")]
    results = []
    with multiprocessing.get_context("spawn").Pool(args.jobs) as pool, open(args.out, "w", encoding="utf-8") as file:
        file.write(json.dumps(report) + "\n")
        for result in pool.imap_unordered(run, jobs):
            if result is not None:
                results.append(result)
                file.write(json.dumps(result) + "\n")
                file.flush()
                print(f"{time.time() - begin:5.0f} s  {json.dumps(result)}", flush=True)
    table(results)
    print(f"{len(results)} of {len(jobs)} runs in {time.time() - begin:.0f} s")


if __name__ == "__main__":
    main()
