#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""Compares the speed of corda's tokenizers with that of the Hugging Face library, on one thread, in one run.

    python scripts/bench/tokenizer.py --driver build/cpu/bin/tokenizer_bench --text FILE DIRECTORY...

Each DIRECTORY holds a model's tokenizer files. Both sides encode the lines of FILE without special tokens; rounds alternate,
and each side's best counts, so that another program on the machine disturbs both alike. The ids must be the same.
Hugging Face runs behind its Python binding, as its users run it, and keeps its caches between rounds; corda's driver is a
fresh process each time. Loading is not counted.
"""

import argparse
import datetime
import hashlib
import json
import os
import platform
import subprocess
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import sentencepiece
import tokenizers
import transformers
from transformers.convert_slow_tokenizer import generate_merges


def by_scores(path):
    """Merges in the order of a SentencePiece model's scores, as the published tokenizer.json files have them."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    pieces = [(processor.id_to_piece(i), processor.get_score(i)) for i in range(processor.get_piece_size())]
    vocab = {piece: i for i, (piece, _) in enumerate(pieces)}
    return transformers.LlamaTokenizer(vocab=vocab, merges=generate_merges(vocab, pieces)).backend_tokenizer


def backend(folder):
    if (folder / "tokenizer.json").exists():
        return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    if (folder / "tokenizer.model").exists():
        return by_scores(folder / "tokenizer.model")
    if not (folder / "tokenizer_config.json").exists():
        return transformers.GPT2Tokenizer.from_pretrained(str(folder)).backend_tokenizer
    return transformers.AutoTokenizer.from_pretrained(str(folder)).backend_tokenizer


def hugging_face(t, lines):
    """Seconds, and a hash of the ids."""
    begin = time.perf_counter()
    ids = [encoding.ids for encoding in t.encode_batch_fast(lines, add_special_tokens=False)]  # the fast one leaves offsets out
    seconds = time.perf_counter() - begin
    digest = hashlib.sha256()
    for row in ids:
        digest.update(b"".join(i.to_bytes(4, "little") for i in row) + b"\xff\xff\xff\xff")
    return seconds, digest.hexdigest()


def corda(driver, folder, text, threads):
    result = json.loads(subprocess.run([driver, folder, text, str(threads)], check=True, capture_output=True, text=True).stdout)
    return result["seconds"], result["sha256"]


def processor_name():
    names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="a further column: corda's encode_batch on so many threads")
    parser.add_argument("directories", type=Path, nargs="+")
    arguments = parser.parse_args()
    lines = arguments.text.read_bytes().decode("utf-8").split("\n")
    megabytes = arguments.text.stat().st_size / 1e6
    print(f"{datetime.date.today()}, {processor_name()}, {os.cpu_count()} cores; tokenizers {tokenizers.__version__}; "
          f"{arguments.text.name}, {megabytes:.1f} MB in {len(lines)} lines; best of {arguments.rounds}\n")
    extra = f" corda, {arguments.threads} threads |" if arguments.threads > 1 else ""
    print(f"| tokenizer | Hugging Face MB/s | corda MB/s | ratio |{extra} ids |")
    print("|---|---|---|---|---|" + ("---|" if extra else ""))
    for folder in arguments.directories:
        t = backend(folder)
        t.no_padding()
        t.no_truncation()
        theirs, ours, many = [], [], []
        for _ in range(arguments.rounds):
            theirs.append(hugging_face(t, lines))
            ours.append(corda(arguments.driver, folder, arguments.text, 1))
            if extra:
                many.append(corda(arguments.driver, folder, arguments.text, arguments.threads))
        a, b = min(theirs)[0], min(ours)[0]
        same = len({digest for _, digest in theirs + ours + many}) == 1
        column = f" {megabytes / min(many)[0]:.1f} |" if extra else ""
        print(f"| {folder.name} | {megabytes / a:.1f} | {megabytes / b:.1f} | {a / b:.1f} |{column} {'equal' if same else 'DIFFERENT'} |", flush=True)


if __name__ == "__main__":
    main()
