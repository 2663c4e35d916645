#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Training steps of corda beside Hugging Face PEFT with Liger kernels, in one call on one GPU.

    cmake --build build/cpu --target train_bench
    scripts/bench/train.py --bench build/cpu/bin/train_bench [--only 7b,0.5b,1b,recompute,frozen,dual,mixed,dora,full] [--peers liger,compile]

    scripts/bench/train.py --bench build/cpu/bin/train_bench --configs FOLDER [--config-batches 4x2048,8x512]

With --configs: one job for every folder in FOLDER that holds a config.json, of any family that corda reads.

Random weights at a model's shape, LoRA of rank 128 (0.5b and 1b too) on all seven projections, AdamW in fp32, bf16; dora: the same
as DoRA; full: every weight, kept in fp32, without PEFT; nf4, fp8: the layers of the blocks in codes (the peer's by bitsandbytes);
float8: frozen products on float8 tensor cores (the peer's in bf16); nf4-float8: so over weights in codes. A step is forward,
backward, clipping (corda only) and the optimizer. corda and the peers run in processes of their own, one after the other; a peer's
process imports its libraries while corda runs, and `compile` goes on with the model of `liger`. Needs torch, transformers, PEFT and
liger-kernel for the peers. Prints a Markdown table; OUT.jsonl has every figure, a line as soon as it is there.
"""
import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time

SHAPES = {  # family, hidden, intermediate, layers, heads, key/value heads, vocabulary, tied head
    "7b": ("llama", 4096, 11008, 32, 32, 32, 32000, False),
    "0.5b": ("qwen2", 896, 4864, 24, 14, 2, 151936, True),  # biases on query, key and value
    "1b": ("llama", 2048, 8192, 16, 32, 8, 128256, True),
    "13b": ("llama", 5120, 13824, 40, 40, 40, 32000, False),
    "70b": ("llama", 8192, 28672, 80, 64, 8, 128256, False),
    "tiny": ("qwen2", 64, 176, 2, 4, 2, 512, True)}
# name -> shape, batches, corda's flags, what the peer does
JOBS = {
    "7b": ("7b", ["4x2048", "8x512", "1x2048"], [], {}),
    "recompute": ("7b", ["4x2048"], ["--recompute", "block", "--offload"], {"recompute": True}),
    "frozen": ("7b", ["4x2048"], ["--frozen-a"], {"frozen_a": True}),
    "dual": ("7b", ["4x2048"], ["--shared-a"], {"frozen_a": True}),
    "mixed": ("7b", ["r8192"], [], None),  # a padded peer would not compute the same tokens
    "0.5b": ("0.5b", ["8x512"], [], {}),
    "1b": ("1b", ["8x512"], [], {}),
    "dora": ("7b", ["1x2048"], ["--method", "dora"], {"method": "dora"}),
    "dora-1b": ("1b", ["8x512"], ["--method", "dora"], {"method": "dora"}),
    "full": ("1b", ["8x512"], ["--method", "full"], {"method": "full"}),
    "nf4": ("7b", ["4x2048"], ["--base", "nf4"], {"base": "nf4"}),
    "nf4-small": ("7b", ["1x2048"], ["--base", "nf4", "--recompute", "block"], {"base": "nf4", "recompute": True}),
    "nf4-float8": ("7b", ["4x2048"], ["--base", "nf4", "--float8"], None),
    "fp8": ("7b", ["4x2048"], ["--base", "fp8"], None),
    "float8": ("7b", ["4x2048"], ["--float8"], {}),
    "13b": ("13b", ["4x2048"], [], {}),
    "13b-shard": ("13b", ["4x2048"], ["--shard"], None),
    "13b-small": ("13b", ["4x2048"], ["--rank", "16", "--recompute", "block"], None),
    "13b-small-shard": ("13b", ["4x2048"], ["--rank", "16", "--recompute", "block", "--shard"], None),
    "70b-shard": ("70b", ["1x2048"], ["--shard", "--rank", "16", "--recompute", "block"], None),
    "tiny": ("tiny", ["2x64"], [], {})}


def peer_config(shape):
    """Of one of the shapes above, or of a folder with a config.json."""
    import transformers
    if pathlib.Path(shape).is_dir():
        config = transformers.AutoConfig.from_pretrained(shape)
        config._attn_implementation = "sdpa"
        return config
    family, hidden, inner, layers, heads, kv_heads, vocab, tied = SHAPES[shape]
    make = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config}[family]
    return make(vocab_size=vocab, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads,
                num_key_value_heads=kv_heads, max_position_embeddings=4096, tie_word_embeddings=tied, attn_implementation="sdpa")


def quantise_blocks(model):
    """Every linear layer of the blocks as bitsandbytes' NF4 with nested absmax, as a model that is loaded in 4 bits."""
    import bitsandbytes
    import torch
    for layer in model.model.layers:
        for module in list(layer.modules()):
            for name, child in list(module.named_children()):
                if not isinstance(child, torch.nn.Linear):
                    continue
                packed = bitsandbytes.nn.Linear4bit(child.in_features, child.out_features, bias=child.bias is not None,
                                                    compute_dtype=torch.bfloat16, compress_statistics=True, quant_type="nf4", device="meta")
                packed.weight = bitsandbytes.nn.Params4bit(child.weight.detach(), requires_grad=False, compress_statistics=True, quant_type="nf4")
                packed.bias = child.bias
                setattr(module, name, packed.to(child.weight.device))
    model.is_loaded_in_4bit = True  # what PEFT asks


def peer(shape, batches, kind, recompute=False, frozen_a=False, method="lora", rank=128, base="bf16", device="cuda", wait=False):
    """One JSON line a batch and a kind, timed as corda's bench does: median of 6 steps after 3. `kind`: plain, liger, compile, or the last two
    with a comma between; with `wait` the device is left alone until standard input says "go". Under torchrun a rank of DistributedDataParallel."""
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model
    config = peer_config(shape)
    kinds = kind.split(",")
    if kind != "plain" and device != "cpu":  # Liger's kernels are those of a GPU
        from liger_kernel.transformers.monkey_patch import _apply_liger_kernel
        _apply_liger_kernel(config.model_type)  # Liger's own choice of kernels for the family
    if wait and sys.stdin.readline() != "go\n":
        return  # whoever was to say it is gone
    torch.backends.cuda.matmul.allow_tf32 = True
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks > 1:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        torch.distributed.init_process_group("nccl")
    torch.set_default_dtype(torch.float32 if method == "full" else torch.bfloat16)
    with torch.device(device):
        model = transformers.AutoModelForCausalLM.from_config(config)
    torch.set_default_dtype(torch.float32)
    if base == "nf4":
        quantise_blocks(model)
        torch.cuda.empty_cache()
    layers_of = model.model
    if method != "full":
        model = get_peft_model(model, LoraConfig(target_modules="all-linear", r=rank, lora_alpha=rank, lora_dropout=0.0, use_dora=method == "dora"))
    model.train()
    if recompute:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    if frozen_a:
        for name, parameter in model.named_parameters():
            if "lora_A" in name:
                parameter.requires_grad_(False)
    if ranks > 1:
        model = torch.nn.parallel.DistributedDataParallel(model, device_ids=[torch.cuda.current_device()], gradient_as_bucket_view=True)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-5, fused=True)
    for name in kinds:
        if name == "compile":
            for layer in layers_of.layers:
                layer.forward = torch.compile(layer.forward)
        for batch in batches:
            line = {"kind": name, "batch": batch, "ranks": ranks, **timed_steps(model, optimizer, config.vocab_size, batch, ranks, device)}
            if os.environ.get("RANK", "0") == "0":
                print(json.dumps(line), flush=True)


def timed_steps(model, optimizer, vocab, batch, ranks, device):
    import torch
    on_gpu = device != "cpu"
    rows, length = map(int, batch.split("x"))
    ids = torch.randint(0, vocab, (rows, length), device=device)
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(9):
        begin = time.perf_counter()
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            # A key/value cache, which transformers fills by default, knows the number of each layer: torch.compile would make every
            # layer anew, and leave all behind the eighth uncompiled.
            model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    median = statistics.median(seconds[3:])
    return {"tokens_per_second": ranks * rows * length / median, "step_ms": 1e3 * median, "first_step_ms": 1e3 * seconds[0],
            "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if on_gpu else 0.0}


def begun(command, **options):
    """A process whose output lines_of reads."""
    environment = {**os.environ, "PYTHONFAULTHANDLER": "1"}  # of lines_of
    return subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options)


def lines_of(process, timeout):
    """The JSON lines that a process has written by its end or its time's; one that waits is let go."""
    try:
        output, errors = process.communicate("go\n" if process.stdin else None, timeout=timeout)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # Python says where it is
        try:
            output, errors = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
        print(f"timed out after {timeout} s: {' '.join(process.args)}: {errors.split('Extension modules:')[0][-1500:]}", file=sys.stderr)
    else:
        if process.returncode != 0:
            print(f"FAILED with {process.returncode}: {' '.join(process.args)}: {errors[-400:]}", file=sys.stderr)
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def processes_of(kinds):
    """`liger` and `compile` share one."""
    shared = [kind for kind in kinds if kind != "plain"]
    return [["plain"]] * ("plain" in kinds) + ([shared] if shared else [])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", help="the program train_bench")
    parser.add_argument("--only", default="7b,recompute,frozen,mixed,0.5b,1b")
    parser.add_argument("--configs", type=pathlib.Path, help="a folder of folders with a config.json, in place of --only")
    parser.add_argument("--config-batches", default="4x2048")
    parser.add_argument("--peers", default="liger,compile")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--timeout", type=int, default=180, help="seconds for one process")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--peer", help=argparse.SUPPRESS)  # the child process
    args = parser.parse_args()
    if args.peer:
        return peer(**json.loads(args.peer))
    kinds = args.peers.split(",") if args.peers else []
    records = []
    if args.out:
        args.out.write_text("")

    def keep(job, name, lines):
        for line in lines:
            records.append({"job": job, "program": name or line["kind"], **line})
            print(f"{job:10s} {records[-1]['program']:8s} {line['batch']:8s} {line['tokens_per_second']:9.0f} tok/s {line['peak_gb']:6.1f} GB", flush=True)
            if args.out:
                with args.out.open("a") as file:
                    file.write(json.dumps(records[-1]) + "\n")

    jobs = {name: JOBS[name] for name in args.only.split(",")}
    if args.configs:
        jobs = {path.parent.name: (str(path.parent), args.config_batches.split(","), [], {})
                for path in sorted(args.configs.glob("*/config.json"))}
    for job, (shape, batches, flags, peer_options) in jobs.items():
        if shape in SHAPES:
            family, hidden, inner, layers, heads, kv_heads, vocab, tied = SHAPES[shape]
            of_shape = ["--family", family, "--hidden", hidden, "--intermediate", inner, "--layers", layers, "--heads", heads,
                        "--kv-heads", kv_heads, "--vocab", vocab, *(["--tied"] if tied else [])]
        else:
            of_shape = ["--config", shape]
        ours = [args.bench, *of_shape, "--batches", ",".join(batches), "--device", args.device, *flags]
        peers = processes_of(kinds) if peer_options is not None else []
        specs = [json.dumps({"shape": shape, "batches": batches, "kind": ",".join(group), "device": args.device, "wait": True, **peer_options})
                 for group in peers]
        waiting = [begun([sys.executable, __file__, "--peer", spec], stdin=subprocess.PIPE) for spec in specs]
        keep(job, "corda", lines_of(begun(ours), args.timeout))
        for process in waiting:
            keep(job, "", lines_of(process, args.timeout))
    names = ["corda", *kinds]
    print("\n| work | " + " | ".join(names) + " | corda / best peer |\n|---|" + "---:|" * (len(names) + 1))
    for job, batch in dict.fromkeys((r["job"], r["batch"]) for r in records):
        row = {r["program"]: r for r in records if (r["job"], r["batch"]) == (job, batch)}
        cells = [f"{row[n]['tokens_per_second']:.0f} tok/s, {row[n]['peak_gb']:.1f} GB" if n in row else "-" for n in names]
        best = max((row[n]["tokens_per_second"] for n in names[1:] if n in row), default=None)
        ratio = f"{row['corda']['tokens_per_second'] / best:.2f}" if best and "corda" in row else "-"
        print(f"| {job}, {batch} | " + " | ".join(cells) + f" | {ratio} |")


if __name__ == "__main__":
    sys.exit(main())
