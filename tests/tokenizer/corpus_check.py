# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""Compares `corda tokenize` with the tokenizers and sentencepiece libraries: ids and decoded text of a large corpus, over real and over generated tokenizers.

    python tests/tokenizer/corpus_check.py --corda build/cpu/bin/corda --shared DIR [--lines 120000] [--generated 150] [--generated-lines 1500] [--models 100] [--seed 11] [--only NAME]

The corpus: lines drawn from all files of DIR/data/datasets, every code point that is no surrogate, lines of random code points of all planes, of one block of 256 each, and of bytes that
are no UTF-8 (which both sides read as U+FFFD). --models: SentencePiece models trained with random options, on lines of spaces, symbols and special tokens. Prints a row a tokenizer; ends with 1 where anything differs, with 77 where the library or the data are not there.
"""

import argparse
import importlib.util
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


# What corda says to the one combination on which the library has no result to be equal to.
REFUSED = "a Replace whose pattern matches empty text"


def load_golden():
    """scripts/golden/tokenizer.py"""
    spec = importlib.util.spec_from_file_location("golden_tokenizer", ROOT / "scripts" / "golden" / "tokenizer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dataset_lines(golden, shared):
    lines = []
    for path in sorted((shared / "data" / "datasets").rglob("*")):
        if path.is_file() and path.name.split(".")[-1] in ("gz", "txt", "jsonl", "json"):
            lines += [line[:600] for line in golden.unpack(path).decode("utf-8", "replace").split("\n") if line]
    return lines


def unicode_lines(rng, count):
    points = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF and c != 0x0A]
    lines = ["".join(map(chr, points[i:i + 48])) for i in range(0, len(points), 48)]
    blocks = sorted({c >> 8 for c in points if chr(c).isprintable()})
    while len(lines) < count:
        kind = rng.randrange(4)
        size = rng.randrange(1, 40)
        if kind == 0:
            line = "".join(chr(rng.choice(points)) for _ in range(size))
        elif kind == 1:
            block = rng.choice(blocks) << 8
            line = "".join(chr(block + rng.randrange(256)) if rng.random() < 0.85 else " " for _ in range(size))
        elif kind == 2:
            line = "".join(chr(rng.choice((rng.randrange(0x20, 0x7F), rng.randrange(0xA0, 0x3000), 0x20, 0x300 + rng.randrange(0x70), 0x1F300 + rng.randrange(0x300)))) for _ in range(size))
        else:
            line = " ".join(rng.choice(("<s>", "</s>", "<|endoftext|>", "'s", "'LL", "  ", "2024", "\r", "\t\t", "▁", "ﬁ", "İ", "ẞ", "ǆ", "한글", "👩‍👩‍👧", "e\u0301")) for _ in range(size))
        lines.append(line.replace("\n", " "))
    return ["".join(c for c in line if not 0xD800 <= ord(c) <= 0xDFFF) for line in lines]


def broken_lines(rng, count):
    """Bytes with the beginnings and ends of characters in the wrong places."""
    parts = [b"a", b" ", b"\x80", b"\xBF", b"\xC0\xAF", b"\xC2", b"\xE0\x80", b"\xE2\x96", b"\xE2\x96\x81", b"\xED\xA0\x80", b"\xEF\xBF\xBD", b"\xF0\x9F\x98", b"\xF4\x90\x80\x80", b"\xF5", b"\xFF",
             "é".encode(), "😀".encode()]
    return [b"".join(rng.choice(parts) for _ in range(rng.randrange(1, 20))) for _ in range(count)]


def run_corda(corda, folder, path, *flags):
    begin = time.time()
    got = subprocess.run([corda, "tokenize", "--model", str(folder), "--data", str(path), *flags], capture_output=True)
    return got, time.time() - begin


def compare(corda, encode, decode, folder, lines, add_special_tokens=False):
    """Number of lines whose ids, and whose decoded text, differ from `encode(texts)` and `decode(ids)`; or the error."""
    source = Path(folder) / "lines.txt"
    lines = [line.rstrip(b"\r") for line in lines]  # the last one is part of a line end
    lines[:1] = [lines[0].removeprefix(b"\xEF\xBB\xBF")]
    source.write_bytes(b"\n".join(lines) + b"\n")
    got, seconds = run_corda(corda, folder, source, *([] if add_special_tokens else ["--no-special-tokens"]))
    if got.returncode != 0:
        return {"error": got.stderr.decode()[-300:]}
    ours = [json.loads(row) for row in got.stdout.decode().split("\n")[:-1]]
    texts = [line.decode("utf-8", "replace") for line in lines]
    begin = time.time()
    theirs = []
    for at in range(0, len(texts), 4096):
        theirs += encode(texts[at:at + 4096])
    peer = time.time() - begin
    differ = [i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b] + list(range(len(ours), len(theirs)))
    result = {"lines": len(lines), "tokens": sum(map(len, theirs)), "ids differ": len(differ), "seconds": round(seconds, 1), "library": round(peer, 1)}
    if differ:
        i = differ[0]
        result["first"] = {"line": texts[i][:200], "corda": ours[i][:60] if i < len(ours) else None, "library": theirs[i][:60]}
    ids = Path(folder) / "ids.txt"
    wanted = [decode(row) for row in theirs]
    kept = [i for i, text in enumerate(wanted) if "\n" not in text]
    ids.write_text("\n".join(json.dumps(theirs[i]) for i in kept) + "\n")
    got, _ = run_corda(corda, folder, ids, "--no-special-tokens", "--decode")
    texts = got.stdout.decode("utf-8", "replace").split("\n")[:-1]
    result["decoded"] = len(kept)
    wrong = [i for i, (text, at) in enumerate(zip(texts, kept)) if text != wanted[at]]
    result["texts differ"] = len(wrong) if len(texts) == len(kept) else f"{len(texts)} lines of {len(kept)}: {got.stderr.decode()[-200:]}"
    if wrong:
        result["first text"] = {"ids": theirs[kept[wrong[0]]][:40], "corda": texts[wrong[0]][:100], "library": wanted[kept[wrong[0]]][:100]}
    return result


def compare_tokenizer(corda, t, folder, lines, add_special_tokens=False):
    """compare() with a tokenizer of the tokenizers library."""
    encode = lambda texts: [e.ids for e in t.encode_batch(texts, add_special_tokens=add_special_tokens)]
    return compare(corda, encode, lambda ids: t.decode(ids, skip_special_tokens=True), folder, lines, add_special_tokens)


def sentencepiece_options(golden, rng):
    """Options of a SentencePiece model, drawn; unigram scores may be made to tie."""
    symbols = ["▁▁", "▁▁▁", "▁▁▁▁", "<tool>", "ab", "ﬁ", "▁the", "a▁b", "\n\n", "12", "é", "▁"]
    kind = rng.choice(["bpe", "bpe", "unigram", "unigram", "unigram", "char"])
    made = {"model_type": kind, "byte_fallback": kind != "char" and rng.random() < 0.5, "add_dummy_prefix": rng.random() < 0.6, "remove_extra_whitespaces": rng.random() < 0.5,
            "treat_whitespace_as_suffix": rng.random() < 0.2, "split_digits": rng.random() < 0.5, "split_by_whitespace": rng.random() < 0.7, "allow_whitespace_only_pieces": rng.random() < 0.5,
            "user_defined_symbols": rng.sample(symbols, rng.randrange(0, 5)), "character_coverage": rng.choice([0.98, 1.0]), "vocab_size": rng.choice([450, 600, 800]),
            "normalization_rule_name": rng.choice(["identity", "identity", "nmt_nfkc", "nfkc", "nmt_nfkc_cf"])}
    scores = {"rounded": lambda piece: float(round(piece.score)), "by length": lambda piece: -1.1 - 0.3 * len(piece.piece), "tenths": lambda piece: -0.1 - round(-3 * piece.score) / 10}
    if kind == "unigram" and rng.random() < 0.75:
        made["score"] = rng.choice(list(scores.values()))
    return made


def sentencepiece_lines(golden, rng, count):
    parts = [" ", "  ", "   ", "▁", "▁▁", "a", "b", "ab", "the", " the", "The", "dog", "12", "1999", "ﬁ", "é", "e\u0301", "½", "\u3000", "\u00a0", "\t", "\r", "<s>", "</s>", "<unk>", "<tool>", "人工", "😀", "\u200b", "\0",
             "\x01", "\ufeff", "ſ", "quick brown", "Würde", "xxxxxxxxx", "lower", "<0x0A>", " . ", "\ufffd"]
    made = ["".join(rng.choice(parts) for _ in range(rng.randrange(1, 60))) for _ in range(count)]
    return [line.replace("\n", " ").encode() for line in golden.TEXTS + rng.sample(unicode_lines(rng, 1), 200) + made]


def check_models(golden, corda, scratch, count, rng):
    """How many models of `count` differ."""
    lines = sentencepiece_lines(golden, rng, 600)
    failed = 0
    for i in range(count):
        options, legacy = sentencepiece_options(golden, rng), rng.random() < 0.3
        folder = Path(scratch) / f"model-{i}"
        golden.sentencepiece_trained(folder / "tokenizer.model", **options)
        (folder / "tokenizer_config.json").write_text(json.dumps({"legacy": legacy}))
        library = golden.SentencePieceLibrary(folder / "tokenizer.model", legacy)
        row = compare(corda, lambda texts: [library.encode(text) for text in texts], library.decode, folder, lines)
        if "error" in row or row["ids differ"] or row["texts differ"]:
            failed += 1
            print("model", i, {k: v for k, v in options.items() if k != "score"}, "legacy", legacy, json.dumps(row, ensure_ascii=False), flush=True)
    print(f"SentencePiece models: {count} of random options on {len(lines)} lines, {failed} differ")
    return failed


def with_added_tokens(made, rng):
    """Further added tokens, each of its own manners."""
    made["added_tokens"] = list(made["added_tokens"])
    vocabulary = made["model"]["vocab"]
    next_id = max(len(vocabulary), 1 + max((token["id"] for token in made["added_tokens"]), default=0))
    known = {token["content"] for token in made["added_tokens"]} | set(vocabulary if isinstance(vocabulary, dict) else (piece for piece, _ in vocabulary))
    for content in rng.sample(["foo", "<tool>", "the dog", "<|x|>", "Würde", "  x", "ﬁ", "2024", "<br>", "▁the"], 3):
        if content in known:
            continue
        flags = {flag: rng.random() < 0.4 for flag in ("single_word", "lstrip", "rstrip", "normalized", "special")}
        made["added_tokens"].append({"id": next_id, "content": content, **flags})
        next_id += 1


def post_processors(made):
    """One of every kind, around the first tokens of the vocabulary."""
    vocabulary = made["model"]["vocab"]
    a, b = list(vocabulary)[:2] if isinstance(vocabulary, dict) else [piece for piece, _ in vocabulary[:2]]
    ids = vocabulary if isinstance(vocabulary, dict) else {a: 0, b: 1}
    pair = {"sep": [b, ids[b]], "cls": [a, ids[a]]}
    special = {token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in (a, b)}
    token = lambda name: {"SpecialToken": {"id": name, "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    template = {"type": "TemplateProcessing", "single": [token(a), text, token(b), token(b)], "pair": [text, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": special}
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    return [None, template, byte_level, {"type": "BertProcessing", **pair}, {"type": "RobertaProcessing", **pair, "trim_offsets": True, "add_prefix_space": False},
            {"type": "Sequence", "processors": [byte_level, template]}]


def kinds_of(component):
    """The types in a component, sequences laid out."""
    if component is None:
        return set()
    parts = [part for key in ("normalizers", "pretokenizers", "decoders", "processors") for part in component.get(key, [])]
    return {component["type"]}.union(*map(kinds_of, parts)) if parts else {component["type"]}


def generated_tokenizers(golden, count, rng):
    """Small trained models behind random normalizers, pre-tokenizers, post-processors and decoders of every kind."""
    bases = [golden.byte_level_gpt2(), golden.byte_level_llama3(), golden.byte_level_prefix_nfc(), golden.llama(True, True), golden.llama(False, False), golden.metaspace_always(), golden.bert(),
             golden.word_level(), golden.unigram(True), golden.unigram(False), golden.word_prefix(), golden.word_suffix(), golden.partial_bytes(), golden.unigram_ties()]
    descriptions = [json.loads(t.to_str()) for t in bases]
    normalizers = [None] + [case["json"] for case in golden.normalizer_cases()]
    pre_tokenizers = [None] + [case["json"] for case in golden.pre_tokenizer_cases()]
    decoders = [None] + [case["json"] for case in golden.decoder_cases()["cases"]]
    for i in range(count):
        made = dict(rng.choice(descriptions))
        made["normalizer"] = normalizers[i % len(normalizers)] if rng.random() < 0.8 else {"type": "Sequence", "normalizers": [n for n in rng.sample(normalizers[1:], 2)]}
        pre = pre_tokenizers[i % len(pre_tokenizers)] if rng.random() < 0.8 else {"type": "Sequence", "pretokenizers": [p for p in rng.sample(pre_tokenizers[1:], 2)]}
        made["pre_tokenizer"] = pre
        made["decoder"] = decoders[i % len(decoders)]
        with_added_tokens(made, rng)
        made["post_processor"] = post_processors(made)[i % 6]
        yield f"generated {i}", made


def is_random(golden, folder, lines):
    """Whether the library gives other ids when it loads the same file again: of added tokens that a normalizer makes the same text it takes any."""
    texts = [line.decode("utf-8", "replace") for line in lines]
    load = lambda: [e.ids for e in golden.Tokenizer.from_file(str(folder / "tokenizer.json")).encode_batch(texts)]
    first = load()
    return any(load() != first for _ in range(12))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corda", required=True)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--lines", type=int, default=120000)
    parser.add_argument("--generated", type=int, default=150)
    parser.add_argument("--generated-lines", type=int, default=1500)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--only")
    args = parser.parse_args()
    try:
        golden = load_golden()
    except ImportError as error:
        print(f"SKIPPED: {error}")
        return 77
    if not (args.shared / "data" / "tokenizers").is_dir():
        print(f"SKIPPED: no data at {args.shared}")
        return 77
    rng = random.Random(args.seed)
    broken = broken_lines(rng, args.lines // 30)
    made = [line.encode() for line in unicode_lines(rng, 36000)]
    made = made if args.lines >= 100000 else rng.sample(made, args.lines * 3 // 10)
    data = [line.encode() for line in dataset_lines(golden, args.shared)]
    data = rng.sample(data, min(len(data), max(0, args.lines - len(made) - len(broken))))
    corpus = data + made + broken
    print(f"corpus: {len(data)} lines of datasets, {len(made)} of Unicode, {len(broken)} of broken UTF-8")
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, folder, _ in golden.real_directories(args.shared, scratch):
            if args.only and args.only != name:
                continue
            t = golden.real_backend(name, folder)
            t.no_padding()
            t.no_truncation()
            row = compare_tokenizer(args.corda, t, folder, corpus)
            failed += "error" in row or row["ids differ"] != 0 or row["texts differ"] != 0
            print(name, json.dumps(row, ensure_ascii=False), flush=True)
        if args.only in (None, "models"):
            failed += check_models(golden, args.corda, scratch, args.models, rng)
        few = rng.sample(corpus, min(len(corpus), args.generated_lines))
        counts = {"same": 0, "refused": 0, "library fails": 0, "library differs from itself": 0}
        kinds = set()
        for name, description in [] if args.only not in (None, "generated") else generated_tokenizers(golden, args.generated, rng):
            folder = Path(scratch) / name.replace(" ", "-")
            folder.mkdir()
            (folder / "tokenizer.json").write_text(json.dumps(description, ensure_ascii=False))
            try:
                t = golden.Tokenizer.from_file(str(folder / "tokenizer.json"))
                row = compare_tokenizer(args.corda, t, folder, few, add_special_tokens=True)
            except BaseException as error:  # the library panics on some of its own components
                if isinstance(error, KeyboardInterrupt):
                    raise
                counts["library fails"] += 1
                continue
            if ("error" not in row) and (row["ids differ"] or row["texts differ"]) and is_random(golden, folder, few):
                counts["library differs from itself"] += 1
                continue
            if "error" in row and REFUSED in row["error"]:
                counts["refused"] += 1
            elif "error" in row:
                failed += 1
                print(name, json.dumps({k: description[k] for k in ("normalizer", "pre_tokenizer", "decoder")}, ensure_ascii=False)[:600], row["error"].strip())
            elif row["ids differ"] or row["texts differ"]:
                failed += 1
                print(name, json.dumps({k: description[k] for k in ("normalizer", "pre_tokenizer", "decoder")}, ensure_ascii=False)[:600], description["model"]["type"], json.dumps(row, ensure_ascii=False), flush=True)
            else:
                counts["same"] += 1
                kinds |= {description["model"]["type"]}.union(*(kinds_of(description[k]) for k in ("normalizer", "pre_tokenizer", "post_processor", "decoder")))
        print("generated:", json.dumps(counts), "differ:", failed)
        print(len(kinds), "kinds of components were in equal ones:", " ".join(sorted(kinds)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
