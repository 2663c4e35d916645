#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Calibration and decomposition at the shapes of real models, beside PEFT, on one GPU.

    scripts/bench/decompose.py --corda PROGRAM --driver DECOMPOSE_BENCH --work DIR [--parts solvers,peft,7b,1b,...]

DECOMPOSE_BENCH is the target `decompose_bench`. Parts: `solvers` times the decomposition of all layers of --solver-shape (Llama-2-7B's) from
covariances in memory and compares energies with the exact route; `peft` times PEFT's decomposition and calibration of the same shape
(needs peft; `peft-decompose`, `peft-calibrate`: one of them); every other part is a shape of SHAPES, run as whole processes on random
weights. Prints Markdown tables; a part that fails says so and the others go on; OUT.jsonl gets every row when it is there. The time of
a whole process is followed by the verb's own, without start and end, and by what the formulas of tests/bench/README.md predict for
`decompose --data`.
"""
import argparse
import gc
import json
import pathlib
import shutil
import subprocess
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import llama_shape
import random_model

SHAPES = {  # hidden, intermediate, layers, heads, key/value heads, vocabulary
    **llama_shape.SHAPES, "qwen7b": (3584, 18944, 28, 28, 4, 32000), "70b-pair": (8192, 28672, 2, 64, 8, 32000),
    "qwen3-8b": (4096, 12288, 36, 32, 8, 151936), "qwen3-tiny": (64, 192, 2, 4, 2, 4096)}
CONFIGS = {"qwen3-8b": random_model.CONFIGS["qwen3-8b"],  # shapes that are no Llama
           "qwen3-tiny": {**random_model.CONFIGS["qwen3-8b"], "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2,
                          "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 4096}}
CHECKED = 1  # layers of each shape whose energy is compared with the exact route's


class Table:
    def __init__(self, out=None):
        self.rows, self.out = [], out

    def add(self, *cells, **figures):
        """`figures` are for the file alone."""
        self.rows.append(cells)
        print(" | ".join(str(cell) for cell in cells), flush=True)
        if self.out:
            with self.out.open("a") as file:
                file.write(json.dumps({"row": list(map(str, cells)), **figures}) + "\n")


def run_json(arguments, limit):
    begin = time.perf_counter()
    done = subprocess.run([str(a) for a in arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=limit)
    if done.returncode != 0:
        raise RuntimeError(f"{arguments[1]} ended with {done.returncode}: {done.stderr[-800:]}")
    return json.loads(done.stdout), time.perf_counter() - begin, done.stderr


def widths(shape):
    """(out, in) of the layers of one block, site after site."""
    hidden, inner, _, heads, kv_heads, _ = SHAPES[shape]
    kv = kv_heads * (hidden // heads)
    return [[(hidden, hidden), (kv, hidden), (kv, hidden)], [(hidden, hidden)], [(inner, hidden)] * 2, [(hidden, inner)]]


def solver_seconds(shape, mode):
    """The solvers' share of one block; an H100."""
    total = 0.0
    for site in widths(shape):
        n = site[0][1]
        if mode == "dual":
            total += 15e-3 + 1.07e-13 * n**3
        elif mode == "ipa":
            total += sum(10.7e-3 + 2 * out * n**2 / 5.8e13 for out, _ in site)
        else:
            total += 2e-13 * n**3 * any(out >= n for out, _ in site)
            total += sum(14e-3 + (2.5e-13 * n**3 if out >= n else 14e-3 + (2 * out * n**2 + 1.25 * out**2 * n) / 6e13 + 1.3e-13 * out**3)
                         for out, _ in site)
    return total


def predict(shape, mode, samples, seq_len):
    """Seconds and bytes of GPU memory of `decompose --data` as a whole process; the formulas of tests/bench/README.md."""
    hidden, _, blocks, _, _, _ = SHAPES[shape]
    sites = widths(shape)
    tokens = samples * seq_len * (2 if mode == "dual" else 1)
    weights = sum(out * n for site in sites for out, n in site)
    squares = sum(site[0][1]**2 for site in sites)
    seconds = 3 + blocks * ((2 * tokens * weights + 1.25 * tokens * squares) / 4.8e14 + solver_seconds(shape, mode))
    solver = max(8 * n**2 + 24 * min(out, n) * n + 40 * min(out, n)**2 + {"kpa": 0, "ipa": 4, "dual": 32}[mode] * n**2
                 for site in sites for out, n in site)
    return seconds, 2 * tokens * hidden + 4 * weights + solver


def solvers(args, table):
    hidden, inner, layers, _, _, _ = SHAPES[args.solver_shape]
    for mode in ("kpa", "ipa", "dual"):
        for spectrum, blocks in (("normal", layers), ("decay", layers), ("outlier", args.outlier_blocks)):
            found, _, _ = run_json([args.driver, args.device, mode, spectrum, hidden, inner, hidden, blocks, CHECKED, args.rank], 120)
            per_layer = 1e3 * found["seconds"] / found["layers"]
            table.add(f"{mode} {spectrum}", f"{found['layers']} layers {found['seconds']:.2f} s", f"{per_layer:.1f} ms a layer",
                      f"bound {found['worst_bound']:.6f}", f"ratio to exact {found['worst_ratio']:.8f} ({found['checked']} layers)",
                      f"redone {found['redone']}", f"{found['peak_memory_bytes'] / 1e9:.1f} GB")
            print("   ", json.dumps(found["ms_by_shape"]), flush=True)


def config_of(shape):
    hidden, inner, layers, heads, kv_heads, vocab = SHAPES[shape]
    return CONFIGS.get(shape, {**random_model.LLAMA, "vocab_size": vocab, "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
                               "num_attention_heads": heads, "num_key_value_heads": kv_heads, "max_position_embeddings": 4096})


def wait(args):
    import torch
    if args.device != "cpu":
        torch.cuda.synchronize()


def peft(args, table):
    peft_decompose(args, table)
    peft_calibrate(args, table)


def peft_decompose(args, table):
    """Every kind of layer of the shape once (the first twice), times how many of it there are."""
    import peft as library
    import torch
    from peft.tuners.lora.corda import collect_eigens_for_layer
    layers = SHAPES[args.solver_shape][2]
    kinds = [layer for site in widths(args.solver_shape) for layer in site]
    torch.manual_seed(0)
    total = 0.0
    for number, (rows, columns) in enumerate(dict.fromkeys(kinds)):
        x = torch.randn(2 * columns, columns, device=args.device)
        linear = torch.nn.Linear(columns, rows, bias=False, device=args.device, dtype=torch.bfloat16)
        linear.covariance_matrix = x.T @ x / len(x)
        del x
        seconds = []
        for _ in range(1 if number else 2):
            wait(args)
            begin = time.perf_counter()
            collect_eigens_for_layer(linear, None)
            wait(args)
            seconds.append(time.perf_counter() - begin)
        count = layers * kinds.count((rows, columns))
        table.add(f"PEFT {library.__version__} decompose {rows}x{columns}", f"{min(seconds):.2f} s a layer", f"{count} such layers",
                  seconds=min(seconds), layers=count)
        total += count * min(seconds)
    table.add("PEFT decompose", f"{total:.0f} s for {layers * len(kinds)} layers (measured layers times their number)", seconds=total)


def peft_calibrate(args, table):
    import torch
    from peft import LoraConfig
    from peft.tuners.lora.config import CordaConfig
    from peft.tuners.lora.corda import calib_cov_distribution
    from transformers import AutoConfig, AutoModelForCausalLM
    on_gpu = args.device != "cpu"
    gc.collect()
    if on_gpu:
        torch.cuda.empty_cache()
    config = AutoConfig.for_model(**config_of(args.solver_shape))
    with torch.device(args.device):
        torch.set_default_dtype(torch.bfloat16)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
        torch.set_default_dtype(torch.float32)
    ids = torch.randint(0, config.vocab_size, (args.peft_samples, args.seq_len), device=args.device)
    corda = LoraConfig(init_lora_weights="corda", target_modules=["q_proj", "o_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "down_proj"],
                       r=args.rank, lora_alpha=args.rank, corda_config=CordaConfig(corda_method="kpm"))

    def run(count):
        with torch.no_grad():
            for i in range(count):
                model(ids[i:i + 1])
        wait(args)

    calib_cov_distribution(model, corda, lambda: run(1), None, None)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    wait(args)
    begin = time.perf_counter()
    calib_cov_distribution(model, corda, lambda: run(args.peft_samples), None, None)
    wait(args)
    seconds = (time.perf_counter() - begin) / args.peft_samples * args.samples
    table.add(f"PEFT calibrate {args.samples} x {args.seq_len}, fp32", f"{seconds:.0f} s ({args.peft_samples} samples measured)",
              f"{torch.cuda.max_memory_allocated() / 1e9 if on_gpu else 0:.1f} GB", seconds=seconds, samples=args.peft_samples)


def whole(args, shape, table):
    work = args.work / shape
    model, text, task = work / "model", args.work / "text.txt", args.work / "task.txt"
    if not model.exists():
        root = pathlib.Path(__file__).resolve().parents[2]
        begin = time.perf_counter()
        random_model.write(model, config_of(shape), root / "scripts" / "demo" / "model")
        print(f"{shape}: weights made in {time.perf_counter() - begin:.1f} s", flush=True)
    if not text.exists():
        llama_shape.write_text(text, 4)
        llama_shape.write_text(task, 4, seed=2)
    common = ["--model", model, "--device", args.device, "--json"]
    draw = ["--samples", args.samples, "--seq-len", args.seq_len]

    def call(label, *arguments, predicted=None):
        out = arguments[arguments.index("--out") + 1]
        for program in filter(None, (args.before, args.corda)):
            shutil.rmtree(out, ignore_errors=True)
            try:
                found, seconds, log = run_json([program, *arguments, *common], args.limit)
            except Exception as error:  # one step must not cost the others
                print(f"{shape} {label}: FAILED: {error}", flush=True)
                continue
            extra = f"bound {found['worst_bound']:.6f}, redone {found['layers_redone']}" if "worst_bound" in found else ""
            if predicted is not None:
                expected, memory = predicted
                extra += f", predicted {expected:.1f} s ({100 * (seconds / expected - 1):+.0f} %), {memory / 1e9:.1f} GB"
            print("".join(f"    {line}\n" for line in log.splitlines() if "done again" in line), end="", flush=True)
            table.add(f"{shape} {label}{' (before)' if program == args.before else ''}", f"{seconds:.1f} s", f"{found['seconds']:.1f} s in the verb",
                      f"{found['peak_memory_bytes'] / 1e9:.1f} GB", extra, shape=shape, step=label, seconds=seconds, result=found)

    steps = [step for step in args.steps.split(",") if shape == args.solver_shape or step in ("data-kpa",)]
    if "calibrate" in steps:
        call(f"calibrate {args.samples} x {args.seq_len}", "calibrate", "--data", text, *draw, "--out", work / "cov")
    if "dual" in steps:  # a quarter of the samples is enough for a covariance of full rank
        draw_task = ["--samples", args.samples // 4, "--seq-len", args.seq_len]
        call("calibrate the task", "calibrate", "--data", task, *draw_task, "--out", work / "task-cov")
    for mode in ("kpa", "ipa", "dual"):
        if mode in steps and (work / "cov").exists():
            more = ["--task-covariance", work / "task-cov"] if mode == "dual" else []
            call(f"decompose {mode} from disk", "decompose", "--covariance", work / "cov", *more, "--mode", mode, "--rank", args.rank, "--out",
                 work / "adapter")
    shutil.rmtree(work / "task-cov", ignore_errors=True)
    shutil.rmtree(work / "cov", ignore_errors=True)
    for mode in ("kpa", "ipa", "dual"):
        if f"data-{mode}" in steps:
            more = ["--task-data", task] if mode == "dual" else []
            call(f"decompose --data {mode}", "decompose", "--data", text, *more, *draw, "--mode", mode, "--rank", args.rank, "--out", work / "adapter",
                 predicted=predict(shape, mode, args.samples, args.seq_len))
    if not args.keep:
        shutil.rmtree(work, ignore_errors=True)


PARTS = {"solvers": solvers, "peft": peft, "peft-decompose": peft_decompose, "peft-calibrate": peft_calibrate}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corda", required=True)
    parser.add_argument("--before", help="another corda, which runs every step first")
    parser.add_argument("--driver")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--parts", default="solvers,peft,7b,1b,qwen7b,70b-pair,13b")
    parser.add_argument("--steps", default="calibrate,kpa,ipa,dual,data-kpa")
    parser.add_argument("--solver-shape", choices=SHAPES, default="7b")
    parser.add_argument("--outlier-blocks", type=int, default=4)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--seq-len", type=int, default=2048)
    parser.add_argument("--peft-samples", type=int, default=8)
    parser.add_argument("--keep", action="store_true", help="leave the models of random weights")
    parser.add_argument("--limit", type=int, default=300, help="seconds for one verb")
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    table = Table(args.out)
    for part in args.parts.split(","):
        begin = time.perf_counter()
        try:
            PARTS.get(part, lambda a, t: whole(a, part, t))(args, table)
        except Exception as error:  # one part must not cost the others
            print(f"{part}: FAILED: {error}\n{traceback.format_exc()[-600:]}", flush=True)
        print(f"[{part}: {time.perf_counter() - begin:.0f} s]", flush=True)
    print()
    for row in table.rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")


if __name__ == "__main__":
    sys.exit(main())
