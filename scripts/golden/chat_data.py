# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""Writes tests/golden/chat_data: token ids and assistant masks of conversations, as transformers' apply_chat_template gives them.

    python scripts/golden/chat_data.py                # named.json, pairs.json and the two small tokenizers
    python scripts/golden/chat_data.py --shared DIR   # also real.json, hashes over the templates in DIR/data/chat_templates
"""

import argparse
import datetime
import hashlib
import json
import re
import sys
from pathlib import Path

sys.path.pop(0)  # tokenizers.py beside this file is not the package
import tokenizers
import transformers
from transformers.utils import chat_template_utils
from transformers.utils.chat_template_utils import render_jinja_template

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "golden" / "chat_data"
SMALL = ROOT / "tests" / "golden" / "tokenizer" / "small"
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|begin_of_text|>", "<|eom_id|>", "<|python_tag|>",
           "<start_of_turn>", "<end_of_turn>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]",
           "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>",
           "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>", "<|start|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>", "[gMASK]", "<sop>", "<|observation|>"]

DATE = "2024-07-26"  # what strftime_now shows


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromisoformat(DATE)


chat_template_utils.datetime = FixedTime

USER = {"role": "user", "content": "Hello there, how are you?"}
ANSWER = {"role": "assistant", "content": "I am fine.\nThanks for asking!"}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"id": "abcdefghi", "type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": "zwei"}}}]}
RESULT = {"role": "tool", "name": "add", "tool_call_id": "abcdefghi", "content": "{\"sum\": 3}"}
TOOLS = [{"type": "function", "function": {"name": "add", "description": "Adds two numbers.", "parameters": {
    "type": "object", "properties": {"a": {"type": "integer", "description": "first"}, "b": {"type": "string"}}, "required": ["a"]}}}]

CONVERSATIONS = {
    "one turn": {"messages": [USER, ANSWER]},
    "system": {"messages": [{"role": "system", "content": "Be brief."}, USER, ANSWER]},
    "turns": {"messages": [USER, ANSWER, {"role": "user", "content": "  And  you? ünï 人工 😀  "}, {"role": "assistant", "content": "Also well."},
                           {"role": "user", "content": "Bye"}, {"role": "assistant", "content": "See you <b>soon</b> & later"}]},
    "system and turns": {"messages": [{"role": "system", "content": "You are a pirate.\nTalk like one."}, USER, ANSWER, {"role": "user", "content": "1 + 1?"},
                                      {"role": "assistant", "content": "2"}]},
    "reasoning": {"messages": [USER, {"role": "assistant", "reasoning_content": "They greet me.", "content": "Hi!"}]},
    "thinking tags": {"messages": [USER, {"role": "assistant", "content": "<think>\nThey greet me.\n</think>\n\nHi!"}, {"role": "user", "content": "More"},
                                   {"role": "assistant", "content": "<think>\nMore of it.\n</think>\n\nHi, hi!"}]},
    "tools": {"tools": TOOLS, "messages": [{"role": "user", "content": "What is 1 + zwei?"}, CALL, RESULT, {"role": "assistant", "content": "It is 3."}]},
}


def named_templates():
    source = (ROOT / "src" / "data" / "named_templates.cpp").read_text()
    texts = dict(re.findall(r'constexpr std::string_view (k\w+) =\s*R"jinja\((.*?)\)jinja";', source, re.S))
    return {name: texts[symbol] for name, symbol in re.findall(r'\{"([\w-]+)", (k\w+), \{', source)}


def make_tokenizers():
    """Small trained tokenizers with the special tokens that templates write; no post-processor, so that offsets are not trimmed."""
    made = {}
    for name, small in (("bytes", "byte_level_gpt2"), ("pieces", "llama_fallback")):
        folder = OUT / name
        folder.mkdir(parents=True, exist_ok=True)
        description = json.loads((SMALL / small / "tokenizer.json").read_text())
        description["post_processor"] = None
        tokenizer = tokenizers.Tokenizer.from_str(json.dumps(description))
        tokenizer.add_special_tokens(SPECIAL)
        tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(json.dumps(
            {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}, indent=1) + "\n")
        made[name] = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), bos_token="<s>", eos_token="</s>")
    return made


def encode(tokenizer, template, conversation):
    marked = "{% generation" in template or "{%- generation" in template
    try:
        text = tokenizer.apply_chat_template(conversation["messages"], tools=conversation.get("tools"), chat_template=template, tokenize=False)
        got = tokenizer.apply_chat_template(conversation["messages"], tools=conversation.get("tools"), chat_template=template, tokenize=True, return_dict=True,
                                            return_assistant_tokens_mask=marked)
    except Exception as error:  # what a template raises, whatever it is
        return {"error": type(error).__name__}
    row = {"text": text, "ids": list(got["input_ids"])}
    if marked:
        row["mask"] = mask_of(tokenizer, template, conversation, row["ids"])
        # Where a character becomes several tokens (byte fallback), transformers leaves out all but the first of the last one.
        if not any(token.startswith("<0x") for token in tokenizer.get_vocab()):
            assert row["mask"] == "".join(map(str, got["assistant_masks"])), (row, got)
    return row


def mask_of(tokenizer, template, conversation, ids):
    """1 for the tokens that begin inside a generation block."""
    rendered, spans = render_jinja_template([conversation["messages"]], tools=conversation.get("tools"), chat_template=template,
                                            return_assistant_tokens_mask=True, **tokenizer.special_tokens_map)
    encoding = tokenizer(rendered[0], add_special_tokens=False, return_offsets_mapping=True)
    assert encoding["input_ids"] == ids
    return "".join("1" if any(begin <= start < end for begin, end in spans[0]) else "0" for start, _ in encoding["offset_mapping"])


# Prompt and response, as the templates alpaca and plain put one behind the other. The seam lies at a space, a line feed, nothing, within a word, within what a
# tokenizer holds together, and behind a space.
PAIRS = [("### Instruction:\nSay hello.\n\n### Response:", " Hello there."), ("Question: who?\nAnswer:", " Ann"), ("Tom saw", " a dog."), ("Tom saw ", "a dog."),
         ("the quick brown", "ish fox"), ("", "the lazy dog"), ("jumps\n\n", "over  the\nlazy dog "), ("café 人", "工 😀 naïve"), ("1", "999"), ("end.", ""), ("</s>", "<s> is text")]
PAIR_TOKENIZERS = ("llama_metaspace", "llama_fallback", "metaspace_always", "byte_level_gpt2", "byte_level_llama3", "unigram", "unigram_fallback", "bert", "word_suffix")


def encode_pair(tokenizer, prompt, response):
    """Ids of the whole text, in which special tokens are text, and 1 for each token that reaches into the response."""
    encoding = tokenizer(prompt + response, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
    return {"ids": encoding["input_ids"], "mask": "".join("1" if end > len(prompt) else "0" for _, end in encoding["offset_mapping"])}


def pairs():
    rows = {}
    for name in PAIR_TOKENIZERS:
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(SMALL / name / "tokenizer.json"))
        rows[name] = [encode_pair(tokenizer, *pair) for pair in PAIRS]
    write("pairs.json", {"transformers": transformers.__version__, "pairs": PAIRS, "tokenizers": rows})


def digest(value):
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()[:16]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path)
    args = parser.parse_args()
    made = make_tokenizers()
    named = {name: {case: {kind: encode(tokenizer, template, conversation) for kind, tokenizer in made.items()} for case, conversation in CONVERSATIONS.items()}
             for name, template in named_templates().items()}
    for cases in named.values():
        for kinds in cases.values():
            kinds["pieces"].pop("text", None)
    pairs()
    write("named.json", {"transformers": transformers.__version__, "conversations": CONVERSATIONS, "templates": named})
    if args.shared:
        real = {}
        folder = args.shared / "data" / "chat_templates"
        for path in sorted(folder.glob("*/*.jinja")):
            template = path.read_bytes().decode()
            rows = {}
            for case, conversation in CONVERSATIONS.items():
                row = encode(made["bytes"], template, conversation)
                if "error" not in row:
                    row = {"ids": digest(row["ids"]), **({"mask": digest(row["mask"])} if "mask" in row else {})}
                rows[case] = row
            real[f"{path.parent.name}/{path.name}"] = rows
        write("real.json", {"transformers": transformers.__version__, "date": DATE, "templates": real})


def write(name, value):
    parts = []
    for key, group in value.items():
        if isinstance(group, dict):
            lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in group.items())
            parts.append(f"{json.dumps(key)}: {{\n{lines}\n}}")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(group)}")
    (OUT / name).write_text("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    main()
