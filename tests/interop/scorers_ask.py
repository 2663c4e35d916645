#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""How the scorers' own programs put a question to a model.

    tests/interop/scorers_ask.py human-eval|mbpp|mbpp-plus|ifeval QUESTION TOKENIZER TEMPLATE

QUESTION is a file with one record, TOKENIZER a model's folder, TEMPLATE a file with a chat template. Prints an object: for "text" and "message",
where the program knows both, prompt, stops and max_new_tokens; of mbpp also the record as an "example". Exit code 77: a package is missing.

  human-eval, mbpp as text, ifeval   lm_eval's tasks humaneval, humaneval_instruct, mbpp, ifeval
  mbpp-plus                          evalplus.codegen's settings and evalplus.provider's prompts and stops"""

import inspect
import json
import pathlib
import re
import sys

HFLM_TOKENS = 256  # max_gen_toks of lm_eval's HFLM where a task says nothing


def lm_eval_task(folder, name):
    """The settings of a task, without the functions it names, which may load what is not here."""
    import lm_eval
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: None)
    path = pathlib.Path(lm_eval.__file__).parent / "tasks" / folder / f"{name}.yaml"
    task = yaml.load(path.read_text(), Loader)
    base = task.pop("include", None)
    return {**(lm_eval_task(folder, base.removesuffix(".yaml")) if base else {}), **task}


def templated(tokenizer, asked, begun):
    messages = [{"role": "user", "content": asked}] + ([{"role": "assistant", "content": begun}] if begun else [])
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=not begun, continue_final_message=bool(begun))


def harness(folder, name, record, tokenizer=None):
    from lm_eval.utils import apply_template
    task = lm_eval_task(folder, name)
    asked = record[task["doc_to_text"]] if task["doc_to_text"] in record else apply_template(task["doc_to_text"], record)
    begun = apply_template(task.get("gen_prefix", ""), record)
    generation = task["generation_kwargs"]
    return {"prompt": templated(tokenizer, asked, begun) if tokenizer else asked, "stops": generation["until"],
            "max_new_tokens": generation.get("max_gen_toks", HFLM_TOKENS),
            "example": apply_template(task["doc_to_target"], {**record, "is_fewshot": True}) if folder == "mbpp" else ""}


def evalplus(record, tokenizer):
    from evalplus import codegen
    from evalplus.provider.base import DecoderBase
    from evalplus.provider.utility import EOS, extra_eos_for_direct_completion, make_raw_chat_prompt
    source = inspect.getsource(codegen.run_codegen)
    said = {name: re.search(rf'^    {name} = "(.*)"$', source, re.M)[1] for name in ("instruction_prefix", "response_prefix")}
    chat_stop = re.search(r'self\.eos \+= (\["[^"]*"\])', pathlib.Path(inspect.getfile(DecoderBase)).with_name("hf.py").read_text())[1]
    prompt = record["prompt"].strip() + "\n"  # as codegen.codegen
    tokens = inspect.signature(DecoderBase).parameters["max_new_tokens"].default
    return {"text": {"prompt": prompt, "stops": EOS + extra_eos_for_direct_completion("mbpp"), "max_new_tokens": tokens},
            "message": {"prompt": make_raw_chat_prompt(prompt, **said, tokenizer=tokenizer), "stops": EOS + json.loads(chat_stop), "max_new_tokens": tokens}}


def main():
    scorer, question, folder, template = sys.argv[1:]
    record = json.loads(pathlib.Path(question).read_text())
    try:
        from transformers import AutoTokenizer
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.chat_template = pathlib.Path(template).read_text()
        if scorer == "mbpp-plus":
            asked = evalplus(record, tokenizer)
        elif scorer == "mbpp":
            asked = {"text": harness("mbpp", "mbpp", record)}
        elif scorer == "human-eval":
            asked = {"text": harness("humaneval", "humaneval", record), "message": harness("humaneval", "humaneval_instruct", record, tokenizer)}
        else:
            asked = {"message": harness("ifeval", "ifeval", record, tokenizer)}
    except ImportError as error:
        print(error, file=sys.stderr)
        return 77
    print(json.dumps(asked))
    return 0


if __name__ == "__main__":
    sys.exit(main())
