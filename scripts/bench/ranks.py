#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Training steps on several GPUs of one machine beside one of them, corda and PEFT + Liger under DistributedDataParallel.

    cmake --build build/cpu --target train_bench
    scripts/bench/ranks.py --bench build/cpu/bin/train_bench --gpus 2 [--only 7b,dual,1b] [--peer-of 7b]

Jobs and shapes are those of train.py. A rank steps on a batch of its own; gradients are summed over NCCL. Efficiency is the rate of all
over that of one times their number. Prints a Markdown table; OUT.jsonl has every figure.
"""
import argparse
import json
import os
import pathlib
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import train  # noqa: E402


def free_port():
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def start(command, ranks):
    """A process a rank, as torchrun would start them; the first one's output is read."""
    port = free_port()
    processes = []
    for rank in range(ranks):
        own = {**os.environ}
        if ranks > 1:
            own |= {"RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        processes.append(subprocess.Popen([str(part) for part in command], env=own, text=True, stderr=subprocess.PIPE,
                                          stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL))
    return processes


def finish(processes, timeout):
    output = ""
    try:
        for rank, process in enumerate(processes):
            out, err = process.communicate(timeout=timeout)
            if process.returncode != 0:
                print(f"rank {rank} FAILED with {process.returncode}: {err[-600:]}", file=sys.stderr, flush=True)
            output += out or ""
    except subprocess.TimeoutExpired:
        print(f"timed out after {timeout} s", file=sys.stderr, flush=True)
    for process in processes:
        process.kill()
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", required=True, help="the program train_bench")
    parser.add_argument("--gpus", type=int, default=2)
    parser.add_argument("--only", default="7b,dual,1b")
    parser.add_argument("--ranks", type=lambda v: [int(n) for n in v.split(",")], help="default: 1 and --gpus")
    parser.add_argument("--peer-of", default="7b", help="jobs that the peer does too; empty: none")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--timeout", type=int, default=90, help="seconds for one job")
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    records = []
    for job in args.only.split(","):
        shape, batches, flags, peer_options = train.JOBS[job]
        family, hidden, inner, layers, heads, kv_heads, vocab, tied = train.SHAPES[shape]
        programs = {"corda": [args.bench, "--family", family, "--hidden", hidden, "--intermediate", inner, "--layers", layers, "--heads", heads,
                              "--kv-heads", kv_heads, "--vocab", vocab, *(["--tied"] if tied else []), "--batches", batches[0],
                              "--device", args.device, *flags]}
        if job in args.peer_of.split(","):
            spec = json.dumps({"shape": shape, "batches": batches[:1], "kind": "liger", **peer_options})
            programs["peft+liger"] = [sys.executable, pathlib.Path(train.__file__), "--peer", spec]
        for name, command in programs.items():
            for ranks in args.ranks or (1, args.gpus):
                for line in finish(start(command, ranks), args.timeout):
                    records.append({"job": job, "program": name, **line})
                    print(f"{job:8s} {name:10s} {ranks} GPU(s) {line['batch']:8s} {line['tokens_per_second']:9.0f} tok/s {line['peak_gb']:6.1f} GB a GPU",
                          flush=True)
                if args.out:
                    args.out.write_text("".join(json.dumps(record) + "\n" for record in records))
    print(f"\n| work | program | 1 GPU | {args.gpus} GPUs | efficiency |\n|---|---|---:|---:|---:|")
    for job, name in dict.fromkeys((r["job"], r["program"]) for r in records):
        rates = {r["ranks"]: r["tokens_per_second"] for r in records if (r["job"], r["program"]) == (job, name)}
        if {1, args.gpus} <= rates.keys():
            print(f"| {job} | {name} | {rates[1]:.0f} | {rates[args.gpus]:.0f} | {rates[args.gpus] / rates[1] / args.gpus:.1%} |")


if __name__ == "__main__":
    sys.exit(main())
