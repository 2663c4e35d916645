#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What transformers says of a model folder: the loss of text windows and greedy answers, as real_models.py compares them.

    real_models_reference.py --model DIR --data FOLDER --out FILE [--dtype fp32] [--device auto] [--windows 512:8,2048:2]

FOLDER is what prepare_real_models.py wrote. Needs torch and transformers. A window is what `corda eval` takes: consecutive tokens of the
text, no BOS, in which a literal <unk> is text. A prompt begins as the tokenizer begins it.
"""
import argparse
import json
import pathlib
import sys

ANSWER_TOKENS = 24


def parse_windows(text):
    """'512:8,2048:0' -> [(512, 8), (2048, 0)]: windows of so many tokens, and how many of them (0: all)."""
    return [tuple(int(part) for part in item.split(":")) for item in text.split(",")]


def plain_ids(tokenizer, text):
    """Ids of text in which nothing is special, as corda reads text."""
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


class Reference:
    def __init__(self, folder, dtype, device):
        import torch
        import transformers
        self.torch, self.dtype, self.device = torch, dtype, device
        self.versions = {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        # The plain definition of attention: no kernel is chosen by length or device.
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype={"fp32": torch.float32, "bf16": torch.bfloat16}[dtype], attn_implementation="eager").to(device).eval()

    def loss_sum(self, ids, first):
        """Sum of the losses of ids[first:], each given all before it."""
        torch = self.torch
        x = torch.tensor([ids], device=self.device)
        with torch.no_grad():
            logits = self.model(input_ids=x, use_cache=False).logits[0, first - 1:-1].float()
            return torch.nn.functional.cross_entropy(logits, x[0, first:], reduction="none").double().sum().item()

    def text(self, ids, length, count):
        """Mean loss over the first `count` windows (0: all) of `length` tokens."""
        windows = [ids[begin:begin + length] for begin in range(0, len(ids), length)]
        windows = [window for window in (windows[:count] if count else windows) if len(window) > 1]
        tokens = sum(len(window) - 1 for window in windows)
        return {"seq_len": length, "samples": len(windows), "tokens": tokens,
                "nll": sum(self.loss_sum(window, 1) for window in windows) / tokens}

    def begin(self):
        """What the tokenizer puts before a text: its BOS or nothing."""
        with_special, without = self.tokenizer("a")["input_ids"], self.tokenizer("a", add_special_tokens=False)["input_ids"]
        return with_special[:len(with_special) - len(without)] if with_special[-1:] == without[-1:] else []

    def answers(self, questions):
        """Greedy continuations of the prompts, and the mean loss of the first lines of them as answers that EOS ends."""
        rows, loss, tokens = [], 0.0, 0
        eos = self.tokenizer.eos_token_id
        for question in questions:
            prompt = self.begin() + plain_ids(self.tokenizer, f"Question: {question}\nAnswer:")
            x = self.torch.tensor([prompt], device=self.device)
            # Nothing of the model's generation settings is wanted but the greedy choice.
            out = self.model.generate(input_ids=x, attention_mask=self.torch.ones_like(x), max_new_tokens=ANSWER_TOKENS, do_sample=False,
                                      repetition_penalty=1.0, eos_token_id=eos, pad_token_id=eos)[0, len(prompt):].tolist()
            if eos in out:
                out = out[:out.index(eos)]
            text = self.tokenizer.decode(out, clean_up_tokenization_spaces=False)
            answer = (text.strip().split("\n") or [""])[0].strip() or "nothing"
            response = plain_ids(self.tokenizer, " " + answer) + [eos]
            loss += self.loss_sum(prompt + response, len(prompt))
            tokens += len(response)
            rows.append({"question": question, "prompt_ids": prompt, "ids": out, "text": text, "answer": answer})
        return {"max_new_tokens": ANSWER_TOKENS, "answer_nll": loss / tokens, "answer_tokens": tokens, "rows": rows}


def measure(folder, data, dtype, device, windows):
    import torch
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    reference = Reference(folder, dtype, device)
    ids = plain_ids(reference.tokenizer, (data / "wikitext2_test.txt").read_text(encoding="utf-8"))
    questions = [json.loads(line)["question"] for line in (data / "prompts.jsonl").read_text(encoding="utf-8").splitlines()]
    card = torch.cuda.get_device_name() if device != "cpu" else "CPU"
    return {"model": folder.name, "dtype": dtype, "card": card, **reference.versions, "text_tokens": len(ids), "begins_with": reference.begin(),
            "eos": reference.tokenizer.eos_token_id, "text": [reference.text(ids, length, count) for length, count in windows],
            "answers": reference.answers(questions) if dtype == "fp32" else None}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--windows", type=parse_windows, default=parse_windows("512:8,2048:2"))
    args = parser.parse_args()
    result = measure(args.model, args.data, args.dtype, args.device, args.windows)
    temporary = args.out.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.rename(args.out)
    print(f"{args.model.name} {args.dtype}: " + ", ".join(f"{t['samples']} x {t['seq_len']}: {t['nll']:.6f}" for t in result["text"]), file=sys.stderr)


if __name__ == "__main__":
    main()
