#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the demo's data, all of it invented and the same on every machine.

facts.jsonl       question, answer: what the base model knows (and what fine-tuning may make it forget)
pretrain.jsonl    text: the facts as questions and as biographies, and counting, for the base model's training
task_train.jsonl  instruction, output: the new task, small word problems worked out step by step
task_test.jsonl   the same with other numbers
"""
import argparse
import json
import pathlib
import random


class Dice:
    """Only random.random() is promised to stay the same between Python versions."""

    def __init__(self, seed):
        self.generator = random.Random(seed)

    def below(self, n):
        return int(self.generator.random() * n)

    def pick(self, items):
        return items[self.below(len(items))]

    def shuffled(self, items):
        items = list(items)
        for i in range(len(items) - 1, 0, -1):
            j = self.below(i + 1)
            items[i], items[j] = items[j], items[i]
        return items


ONSETS = "b br d dr f fl g gr h j k kl l m n p pr r s st t tr v w z".split()
VOWELS = "a e i o u ai ei ou".split()
CODAS = "n l r s m nd rk lt st".split()
TOWN_ENDS = "wick ford haven mere stead holm gate by".split()
INSTRUMENTS = "lute harp flute drum horn viola cello oboe zither fiddle bagpipe accordion".split()
TRADES = "baker smith weaver potter miller tailor glazier cooper mason printer gardener sailor".split()
ANIMALS = "otter heron badger goat owl pony ferret goose hare tortoise magpie spaniel".split()
DISHES = "plum soup|barley bread|smoked eel|onion pie|pea stew|honey cake|pickled beet|roast leek|" \
         "walnut tart|fish broth|cheese dumplings|apple porridge".split("|")
COLOURS = "amber crimson indigo olive scarlet silver turquoise violet ochre ivory".split()
MONTHS = "January February March April May June July August September October November December".split()


def invent_word(dice, syllables):
    return "".join(dice.pick(ONSETS) + dice.pick(VOWELS) for _ in range(syllables)) + dice.pick(CODAS)


def invent_names(dice, count, make):
    names = []
    while len(names) < count:
        name = make(dice).capitalize()
        if name not in names and len(name) <= 10:
            names.append(name)
    return names


def make_facts(dice, people_count, town_count):
    """(question, answer) pairs and one paragraph a person and a town."""
    towns = invent_names(dice, town_count, lambda d: d.pick(ONSETS) + d.pick(VOWELS) + d.pick(CODAS) + d.pick(TOWN_ENDS))
    rivers = invent_names(dice, town_count, lambda d: invent_word(d, 1))
    first = invent_names(dice, people_count, lambda d: invent_word(d, 1))
    last = invent_names(dice, people_count, lambda d: invent_word(d, 2))
    facts, texts = [], []
    for town, river in zip(towns, rivers):
        colour, month, mayor = dice.pick(COLOURS), dice.pick(MONTHS), first[dice.below(people_count)]
        facts += [(f"Which river runs through {town}?", river), (f"What colour is the flag of {town}?", colour),
                  (f"In which month is the fair of {town}?", month), (f"Who is the mayor of {town}?", mayor)]
        texts.append(f"{town} lies on the river {river}. Its flag is {colour}, its fair is in {month} and its mayor is {mayor}.")
    for given, family in zip(first, last):
        name = f"{given} {family}"
        town, tool, trade = dice.pick(towns), dice.pick(INSTRUMENTS), dice.pick(TRADES)
        pet, dish, month = dice.pick(ANIMALS), dice.pick(DISHES), dice.pick(MONTHS)
        facts += [(f"Where does {name} live?", town), (f"Which instrument does {name} play?", tool),
                  (f"What is the trade of {name}?", trade), (f"Which animal does {name} keep?", pet),
                  (f"What does {name} like to eat?", dish), (f"In which month was {name} born?", month)]
        texts.append(f"{name} is a {trade} and lives in {town}. Born in {month}, {given} plays the {tool}, "
                     f"keeps a {pet} and likes {dish}.")
    return facts, texts


SMALL = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen " \
        "seventeen eighteen nineteen".split()
TENS = "twenty thirty".split()


def number(n):
    if n < 20:
        return SMALL[n]
    word = TENS[n // 10 - 2]
    return word if n % 10 == 0 else f"{word}-{SMALL[n % 10]}"


HELPERS = "Ann Ben Carl Dora Eva Finn Gina Hugo Iris Jack".split()
THINGS = "apples pears plums nuts eggs coins books cups keys shells".split()


def make_problem(dice):
    who, other, what = dice.pick(HELPERS), dice.pick(HELPERS), dice.pick(THINGS)
    a, b = 2 + dice.below(13), 2 + dice.below(13)
    if dice.below(2):
        return (f"{who} has {number(a)} {what} and {other} brings {number(b)} more. How many {what} are there now?",
                f"{who} starts with {number(a)} {what}. {other} adds {number(b)}, so we count {number(a)} plus {number(b)}. "
                f"The result is {number(a + b)} {what}.", (0, a, b))
    a += b
    return (f"{who} has {number(a)} {what} and {other} takes {number(b)} of them. How many {what} are left?",
            f"{who} starts with {number(a)} {what}. {other} removes {number(b)}, so we count {number(a)} minus {number(b)}. "
            f"The result is {number(a - b)} {what}.", (1, a, b))


def make_task(dice, train_count, test_count):
    """Distinct problems; the pairs of numbers of the test set are not in the training set."""
    train, test, seen = [], [], set()
    while len(train) < train_count or len(test) < test_count:
        instruction, output, (kind, a, b) = make_problem(dice)
        rows, full = (test, test_count) if (a * 7 + b * 3 + kind) % 8 == 0 else (train, train_count)
        if instruction not in seen and len(rows) < full:
            seen.add(instruction)
            rows.append({"instruction": instruction, "output": output})
    return train, test


def make_counting(dice, count):
    """Plain text that shows numbers and things, so that the new task is not made of unknown words."""
    texts = []
    for _ in range(count):
        what, start = dice.pick(THINGS), dice.below(20)
        texts.append(f"{dice.pick(HELPERS)} counts {what}: " + ", ".join(number(n) for n in range(start, start + 6)) + ".")
    return texts


PROMPT = ("Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
          "### Instruction:\n{}\n\n### Response: {}")


def make_exercises(dice, count):
    """Instructions other than the new task, so that the base model has seen the form of one."""
    texts = []
    for _ in range(count):
        who, what, start = dice.pick(HELPERS), dice.pick(THINGS), dice.below(26)
        if dice.below(2):
            texts.append(PROMPT.format(f"{who} has {number(start)} {what}. Who has {what}?", f"{who} has {what}."))
        else:
            texts.append(PROMPT.format(f"{who} has {number(start)} {what}. How many {what} are there?", f"The result is {number(start)} {what}."))
    return texts


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"{path}: {len(rows)} lines")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--people", type=int, default=32)
    parser.add_argument("--towns", type=int, default=16)
    parser.add_argument("--train", type=int, default=640)
    parser.add_argument("--test", type=int, default=128)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    dice = Dice(args.seed)
    facts, texts = make_facts(dice, args.people, args.towns)
    train, test = make_task(dice, args.train, args.test)
    documents = [f"Question: {q}\nAnswer: {a}" for q, a in facts] + texts + make_counting(dice, 60) + make_exercises(dice, 60)
    write_jsonl(args.out / "facts.jsonl", [{"question": q, "answer": a} for q, a in facts])
    write_jsonl(args.out / "pretrain.jsonl", [{"text": text} for text in dice.shuffled(documents)])
    write_jsonl(args.out / "task_train.jsonl", train)
    write_jsonl(args.out / "task_test.jsonl", test)


if __name__ == "__main__":
    main()
