#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prepares the folder that dual_ideas.py reads: every text as ids, so that nothing is tokenised on the card.

    prepare_dual_ideas.py --shared DIR --out DIR [--smol MODEL] [--self nano,smol]

Writes OUT/nano/ (configuration, tokenizer, weights.npz, data.npz), OUT/smol.npz and, with --self, OUT/self-nano.npz and OUT/self-smol.npz: windows that the
model itself wrote. A set of samples is three arrays: the ids end to end, the lengths, and the place of the first target in each sample.
"""
import argparse
import json
import pathlib
import random
import shutil

import numpy

from prepare_nano_qa import SETS, questions, read, read_text, usable
from prepare_real_models import code, common_first, unquoted

PROMPT = ("Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
          "### Instruction:\n{}\n\n### Response:")


class Sets:
    """Sets of samples by name, for numpy.savez."""

    def __init__(self, encode):
        self.encode, self.arrays, self.texts = encode, {}, {}

    def add(self, name, samples):
        """samples: (ids, place of the first target)."""
        samples = [(ids, first) for ids, first in samples if len(ids) > 1]
        self.arrays[f"{name}/ids"] = numpy.concatenate([numpy.asarray(ids, dtype=numpy.uint16) for ids, _ in samples])
        self.arrays[f"{name}/lengths"] = numpy.asarray([len(ids) for ids, _ in samples], dtype=numpy.int32)
        self.arrays[f"{name}/firsts"] = numpy.asarray([first for _, first in samples], dtype=numpy.int32)

    def mask(self, name, masks):
        """Which tokens of the set's samples are an answer."""
        self.arrays[f"{name}/answers"] = numpy.concatenate([numpy.asarray(m, dtype=numpy.uint8) for m in masks])

    def instructions(self, name, rows, begin, end, longest=512):
        samples = []
        for question, answer in rows:
            prompt = begin + self.encode(PROMPT.format(question))
            ids = (prompt + self.encode(" " + answer) + [end])[:longest]
            if len(ids) > len(prompt):
                samples.append((ids, len(prompt)))
        self.add(name, samples)

    def windows(self, name, ids, length, count=None):
        found = [ids[i:i + length] for i in range(0, len(ids), length)]
        found = [window for window in found if len(window) > 1]
        self.add(name, [(window, 1) for window in found[:count]])

    def answered(self, name, rows, begin, end, length, count, seed):
        """Random windows of documents "Question: q\\nAnswer: a"; the mask has the answers and what predicts their first token."""
        ids, mask = [], []
        for question, answer in rows:
            prompt, response = begin + self.encode(f"Question: {question}\nAnswer:"), self.encode(" " + answer) + end
            ids += prompt + response
            mask += [0] * (len(prompt) - 1) + [1] * (len(response) + 1)
        draw = random.Random(seed)
        starts = [draw.randrange(len(ids) - length) for _ in range(count)]
        self.add(name, [(ids[s:s + length], 1) for s in starts])
        self.mask(name, [mask[s:s + length] for s in starts])

    def drawn(self, name, ids, length, count, seed):
        draw = random.Random(seed)
        starts = [draw.randrange(len(ids) - length) for _ in range(count)]
        self.add(name, [(ids[s:s + length], 1) for s in starts])

    def write(self, path):
        numpy.savez_compressed(path, texts=json.dumps(self.texts), **self.arrays)
        print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB, {len(self.arrays) // 3} sets")


def encoder(folder):
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def gsm8k(datasets):
    train, test = (read(datasets / "gsm8k" / f"{part}.jsonl.gz") for part in ("train", "test"))
    return ([(r["question"], r["answer"]) for r in rows] for rows in (train[len(train) // 2:], test))


def pack_weights(folder, out):
    """bf16 weights as the planes of their high and their low bytes, of which the first deflates well."""
    import torch
    from safetensors.torch import load_file
    planes = {}
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in load_file(path).items():
            bits = tensor.view(torch.int16).numpy().view(numpy.uint16)
            planes[f"{name}/hi"], planes[f"{name}/lo"] = (bits >> 8).astype(numpy.uint8), (bits & 255).astype(numpy.uint8)
    numpy.savez_compressed(out, **planes)
    print(f"{out}: {out.stat().st_size / 2**20:.1f} MiB")


def prepare_nano(shared, out):
    """Texts, calibration and tests of forgetting's small model; BOS is what it has learnt every text behind."""
    source, datasets, folder = shared / "data" / "models" / "nano-qa-11m", shared / "data" / "datasets", out / "nano"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json"):
        shutil.copyfile(source / name, folder / name)
    pack_weights(source, folder / "weights.npz")
    encode, end = encoder(source), 0
    sets = Sets(encode)
    qa = {}
    for name, files in SETS.items():
        rows = [questions(row) for file in files for row in read(datasets / file)]
        qa[name] = [(q, a) for q, a in rows if usable(q, a)]
    test = [row for rows in qa.values() for row in random.Random(1).sample(rows, 600)]
    sets.add("questions", [([end, *encode(f"Question: {q}\nAnswer:")], 1) for q, _ in test])
    sets.texts["answers"] = [a for _, a in test]
    train, judge = gsm8k(datasets)
    sets.instructions("train", train, [end], end)
    sets.instructions("test", judge, [end], end)
    sets.answered("qa", random.Random(7).sample([(q, a[0]) for q, a in qa["nq_dpr"]], 2500), [end], [], 256, 256, 5)
    sets.add("replay", [([end, *encode(f"Question: {q}\nAnswer: {a[0]}"), end], 1) for q, a in qa["nq_dpr"]])
    texts = {"wikitext2": read_text(datasets / "text" / "wikitext-2.test.txt.gz"), "stories": read_text(datasets / "text" / "tinystories_sample.txt.gz"),
             "c4": "\n".join(r["text"] for r in read(datasets / "text" / "c4_demo.jsonl.gz"))}
    calibration = []
    for name, text in texts.items():
        ids = encode(text[:300000])
        sets.windows(name, ids[:64 * 256], 256)
        calibration += [(ids[i * 256:(i + 1) * 256], 1) for i in range(64, min(128, len(ids) // 256))]
    sets.add("text", calibration)
    sets.write(folder / "data.npz")


def prepare_smol(shared, model, out):
    """As real_models.py has it: no BOS, TriviaQA and text to keep, GSM8K to learn; and Shakespeare and code to learn."""
    datasets, encode = shared / "data" / "datasets", encoder(model)
    begin, end = [], json.loads((model / "config.json").read_text())["eos_token_id"]
    sets = Sets(encode)

    def trivia(name):
        rows = [questions(row) for row in read(datasets / "triviaqa" / f"triviaqa.{name}.jsonl.gz")]
        rows = [(unquoted(q), common_first(a)) for q, a in rows]
        return [(q, a[0]) for q, a in rows if usable(q, a)]

    c4 = [row["text"] for row in read(datasets / "text" / "c4_demo.jsonl.gz")]
    test = random.Random(1).sample(trivia("test"), 1020)[:1000]
    sets.add("answers", [(encode(f"Question: {q}\nAnswer:") + encode(" " + a) + [end], len(encode(f"Question: {q}\nAnswer:"))) for q, a in test])
    sets.answered("qa", random.Random(2).sample(trivia("dev"), 6000), begin, [end], 512, 256, 233)
    text = encode(read_text(datasets / "text" / "wikitext-2.valid.txt.gz") + "\n\n" + "\n\n".join(c4[0::2]))
    sets.drawn("text", text, 512, 256, 233)
    sets.windows("replay", text, 256)
    sets.windows("wikitext2", encode(read_text(datasets / "text" / "wikitext-2.test.txt.gz")), 2048)
    sets.windows("c4", encode("\n\n".join(c4[1::2])), 2048)
    train, judge = gsm8k(datasets)
    sets.instructions("train", train, begin, end)
    sets.instructions("test", judge, begin, end)
    learnt, judged = code(datasets)
    sets.instructions("code-train", learnt, begin, end)
    sets.instructions("code-test", judged, begin, end)
    play = encode(read_text(datasets / "text" / "tinyshakespeare.txt.gz"))
    cut = len(play) * 9 // 10
    sets.windows("shakespeare-train", play[:cut], 512)
    sets.windows("shakespeare-test", play[cut:], 512)
    sets.write(out / "smol.npz")


def write_self(name, folder, out, starts, windows, length):
    """Windows that the model wrote at temperature 1 behind each of `starts`."""
    import torch
    from transformers import AutoModelForCausalLM
    torch.manual_seed(11)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    samples = []
    while len(samples) < windows:
        first = torch.tensor([[starts[i % len(starts)]] for i in range(64)])
        ids = model.generate(input_ids=first, attention_mask=torch.ones_like(first), do_sample=True, top_k=0, top_p=1.0, temperature=1.0,
                             repetition_penalty=1.0, min_new_tokens=length - 1, max_new_tokens=length - 1, pad_token_id=starts[0])
        samples += [(row, 1) for row in ids.tolist()]
        print(f"{name}: {len(samples)} of {windows} windows", flush=True)
    sets = Sets(None)
    sets.add("self", samples[:windows])
    sets.write(out / f"self-{name}.npz")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--smol", type=pathlib.Path, help="SmolLM2-135M's folder")
    parser.add_argument("--self", dest="own", default="", help="write windows of the model's own: nano, smol or both")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    own = args.own.split(",") if args.own else []
    if not own:
        prepare_nano(args.shared, args.out)
        if args.smol:
            prepare_smol(args.shared, args.smol, args.out)
    if "nano" in own:
        write_self("nano", args.out / "nano", args.out, [0], 256, 256)
    if "smol" in own:
        write_self("smol", args.smol, args.out, [0, 1], 128, 256)


if __name__ == "__main__":
    main()
