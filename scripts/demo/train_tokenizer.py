#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains a small byte-level BPE on the demo's texts and writes the model directory's JSON files.

Writes tokenizer.json, tokenizer_config.json, generation_config.json and config.json of a small Llama.
"""
import argparse
import collections
import json
import pathlib
import re

SPECIAL = ["<|endoftext|>", "<|pad|>"]
# The split pattern of ByteLevel, for ASCII text (which the demo's is).
SPLIT = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")
PROMPT = ("Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
          "### Instruction:\n{instruction}\n\n### Response:")


def byte_letters():
    """The printable stand-in of every byte in GPT-2's vocabulary."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters, extra = {b: chr(b) for b in plain}, 0
    for b in range(256):
        if b not in letters:
            letters[b] = chr(256 + extra)
            extra += 1
    return letters


def train(texts, vocab_size):
    letters = byte_letters()
    words = collections.Counter()
    for text in texts:
        for piece in SPLIT.findall(text):
            words["".join(letters[b] for b in piece.encode())] += 1
    vocab = SPECIAL + sorted(letters.values())
    merges = []
    pieces = {word: list(word) for word in words}
    while len(vocab) < vocab_size:
        pairs = collections.Counter()
        for word, parts in pieces.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[best] < 2:
            break
        merges.append(list(best))
        joined = "".join(best)
        if joined not in vocab:
            vocab.append(joined)
        for word, parts in pieces.items():
            i, out = 0, []
            while i < len(parts):
                if i + 1 < len(parts) and (parts[i], parts[i + 1]) == best:
                    out.append(joined)
                    i += 2
                else:
                    out.append(parts[i])
                    i += 1
            pieces[word] = out
    return {token: i for i, token in enumerate(vocab)}, merges


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder written by make_data.py")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="model directory")
    parser.add_argument("--vocab", type=int, default=640)
    parser.add_argument("--hidden", type=int, default=96)
    parser.add_argument("--intermediate", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--kv-heads", type=int, default=2)
    args = parser.parse_args()
    rows = lambda name: [json.loads(line) for line in (args.data / name).read_text(encoding="utf-8").splitlines()]
    texts = [row["text"] for row in rows("pretrain.jsonl")]
    texts += [PROMPT.format(**row) + " " + row["output"] for row in rows("task_train.jsonl")]
    vocab, merges = train(texts, args.vocab)
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(args.out / "tokenizer.json", {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": vocab[token], "content": token, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for token in SPECIAL],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": {  # BOS before every text: what the model is trained with
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": SPECIAL[0], "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": SPECIAL[0], "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {SPECIAL[0]: {"id": SPECIAL[0], "ids": [vocab[SPECIAL[0]]], "tokens": [SPECIAL[0]]}}},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": vocab, "merges": merges}})
    write_json(args.out / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": SPECIAL[0], "eos_token": SPECIAL[0], "pad_token": SPECIAL[1],
        "clean_up_tokenization_spaces": False, "model_max_length": 256})
    write_json(args.out / "generation_config.json", {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1})
    write_json(args.out / "config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
        "vocab_size": len(vocab), "hidden_size": args.hidden, "intermediate_size": args.intermediate,
        "num_hidden_layers": args.layers, "num_attention_heads": args.heads, "num_key_value_heads": args.kv_heads,
        "head_dim": args.hidden // args.heads, "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "max_position_embeddings": 256, "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": True,
        "initializer_range": 0.05, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1})
    print(f"{args.out}: {len(vocab)} tokens, {len(merges)} merges")


if __name__ == "__main__":
    main()
