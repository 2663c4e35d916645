#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every command of README.md and docs/ as it is written, and holds the pages to what the program knows.

A block ```sh has commands that must succeed. A block ```console has commands behind "$ " with what they print, which is
compared; a line "..." stands for any lines, "..." in a line for any text. A block that begins ```yaml file=NAME is written to that file first. Lines that
are indented by four spaces and begin like a command count as a block ```sh.

Each page is run in a folder of its own (class World) that has a small model under the names that pages use, data, and a
finished run; what a command writes may be used by the next ones. A command that a machine without GPU, network or hours
cannot run stands in CHECKED with the reason, which is printed: then its options and settings must be known to the program, or,
of one of our scripts, stand in the script. A command that is in neither way covered fails.

  tests/docs/docs_test.py --corda build/cpu/bin/corda [--only docs/eval.md] [--keep DIR]
"""
import argparse
import fnmatch
import gzip
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
LONGEST_LINE, README_WORDS = 120, 1300

# What is not run here, and why: (pattern of the command, reason). A pattern must match from the beginning.
CHECKED = [
    (r"(\./)?scripts/quickstart\.sh", "builds corda; demo_test runs it with the program that is there"),
    (r"(\./)?scripts/(test|bootstrap|bundle|gpu_suite|build_wheel)\.sh", "builds or carries corda; ctest and CI run them"),
    (r"\.ci/run", "all of CI"),
    (r"(\./)?scripts/(bench|experiments)/", "needs a GPU, hours, or data that are not in the repository"),
    (r"(pip|pipx) install", "needs the network"),
    (r"hf download", "needs the network"),
    (r"git clone", "needs the network"),
    (r"(ninja|cmake|ctest) ", "builds corda; CI does it"),
    (r"(vllm|llama-cli|evalplus\.[a-z]+|python convert_hf_to_gguf\.py)", "a program of others, which this machine need not have"),
    (r"(torchrun|srun|mpirun|sbatch) ", "needs a launcher; ranks_test runs them where they are installed"),
    (r"corda study .*--config configs/studies/", "needs models and data that are not in the repository; study_test runs the shipped files on a small model"),
    (r"corda man \| man", "needs man; front_door_test reads the page"),
]

# Flags of other programs that pages name.
FOREIGN_FLAGS = {"--limit", "--max-lora-rank", "--system-site-packages"}

OTHER_LANGUAGES = {"python", "json", "yaml", "text", "html", "cpp", "jinja"}
COMMANDS = re.compile(r"(\$ )?((\./)?scripts/|\.ci/run|export PATH|git clone|(corda|pip|pipx|hf|ninja|cmake|ctest|vllm|llama-cli|evalplus\.[a-z]+|torchrun|srun|mpirun|sbatch|source) )")
SHELL = re.compile(r"^(ulimit|printf|echo|cat|head|cp|mkdir|rm|ls|test|true|sed|gzip|for|export|source) ?")


class Block:
    def __init__(self, page, line, language, info, lines):
        self.page, self.line, self.language, self.info, self.lines = page, line, language, info, lines

    def where(self):
        return f"{self.page}:{self.line}"


def blocks_of(page, text):
    """Fenced blocks, and lines indented by four spaces behind an empty line or another such line."""
    blocks, fence, indented = [], None, None
    before = ""
    for number, line in enumerate(text.split("\n"), 1):
        if fence is not None:
            if line.strip().startswith("```"):
                blocks.append(fence)
                fence = None
            else:
                fence.lines.append(line)
        elif line.strip().startswith("```"):
            language, _, info = line.strip()[3:].partition(" ")
            fence = Block(page, number + 1, language, info, [])
        elif line.startswith("    ") and (indented or not before.strip()) and not re.match(r"\s*([-*]|\d+\.) ", line):
            if indented is None:
                indented = Block(page, number, "indented", "", [])
                blocks.append(indented)
            indented.lines.append(line[4:])
        elif line.strip() or indented is None:
            indented = None
        before = line
    if fence is not None:
        raise SystemExit(f"{page}: a block ``` is not closed")
    return blocks


def joined(lines):
    """Commands that end in a backslash go on; a comment behind two spaces goes away."""
    result = []
    for line in lines:
        if result and result[-1].endswith("\\"):
            result[-1] = result[-1][:-1] + line.strip()
        else:
            result.append(line)
    return result


def without_comment(line):
    return re.split(r"(?:^|\s{2,})# ", line)[0].rstrip()


def steps_of(block):
    """[(command, lines it is to print or None)] of a block; None for a block that holds no commands."""
    if block.language == "console":
        steps = []
        for line in joined(block.lines):
            if line.startswith("$ "):
                steps.append((line[2:], []))
            elif not steps:
                raise SystemExit(f"{block.where()}: a block of the console begins with a line '$ ...'")
            else:
                steps[-1][1].append(line)
        return steps
    if block.language in ("sh", "bash"):
        lines = joined(block.lines)
    elif any(COMMANDS.match(line) for line in block.lines) and block.language not in OTHER_LANGUAGES:
        lines = [line for line in joined(block.lines) if COMMANDS.match(line)]
    else:
        return []
    return [(without_comment(line), None) for line in lines if without_comment(line).strip()]


class Program:
    """What the program says of itself."""

    def __init__(self, corda):
        self.corda = corda
        self.verbs = dict(re.findall(r"^  (\w+) {2,}(\S.*)$", self.said("--help").partition("Subcommands:")[2], re.M))
        self.flags = {verb: set(re.findall(r"^ +(?:-\w,)?(--[a-z][a-z0-9-]*)", self.said(verb, "--help"), re.M)) for verb in self.verbs}
        self.settings = set()
        for row in json.loads(self.said("train", "--settings", "--json")):
            self.settings.add(row["name"])
            self.settings |= {f"{row['name']}[].{entry['name']}" for entry in row.get("entries", [])}

    def said(self, *arguments):
        return subprocess.run([self.corda, *arguments], check=True, capture_output=True, text=True).stdout

    def unknown_in(self, command):
        """What a command names that the program does not know."""
        try:
            words = shlex.split(command, comments=True)
        except ValueError as error:
            return [str(error)]
        wrong = []
        for place, word in enumerate(words):
            if word != "corda" or place + 1 == len(words) or words[place + 1].startswith("<"):
                continue
            verb = words[place + 1]
            if verb.startswith("-"):
                continue
            if verb not in self.verbs:
                return [f"there is no verb '{verb}'"]
            rest = words[place + 2 :]
            for i, flag in enumerate(rest):
                if flag in ("|", "&&", ";", ">"):
                    break
                name = flag.strip("[]").partition("=")[0]
                if name.startswith("--") and name not in self.flags[verb]:
                    wrong.append(f"corda {verb} has no {name}")
                if flag == "--set" and i + 1 < len(rest) and rest[i + 1].partition("=")[0] not in self.settings:
                    wrong.append(f"there is no setting {rest[i + 1]}")
        return wrong


def unknown_in_script(command):
    """Options of a command that the script of ours it names does not have."""
    words = shlex.split(command, comments=True)
    script = next((ROOT / word for word in words if re.match(r"(\./)?(scripts/|\.ci/)", word)), None)
    if script is None:
        return []
    if not script.is_file():
        return [f"there is no {script.relative_to(ROOT)}"]
    text = script.read_text(encoding="utf-8")
    for other in re.findall(r"(?:bash |^\. .*/|import |from )([a-z_/]+(?:\.sh)?)", text, re.M):  # what it hands its options to
        for path in (script.parent / other, ROOT / other, script.parent / f"{other}.py"):
            text += path.read_text(encoding="utf-8") if path.is_file() else ""
    return [f"{script.name} has no {word}" for word in words if word.startswith("--") and word.partition("=")[0] not in text]


class World:
    """A folder that a page's commands run in."""

    def __init__(self, corda, folder):
        self.folder = folder
        self.corda = corda
        self.prepared = set()
        bin_folder = folder / ".bin"
        bin_folder.mkdir(parents=True)
        (bin_folder / "corda").symlink_to(corda)
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "CORDA_", "XDG_"))}
        self.environment = keep | {"PATH": f"{bin_folder}:{os.environ['PATH']}", "HF_HUB_CACHE": str(folder / ".hub"), "XDG_CACHE_HOME": str(folder / ".cache"),
                                   "HOME": str(folder), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}

    def run(self, command):
        return subprocess.run(["bash", "-c", command], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", timeout=300)

    def must(self, command):
        result = self.run(command)
        if result.returncode:
            raise SystemExit(f"preparing the folder: {command}\n{result.stdout}")

    def write(self, name, rows):
        text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".gz"):
            path.write_bytes(gzip.compress(text.encode()))
        else:
            path.write_text(text, encoding="utf-8")

    def forget_output(self, command):
        """Takes away what was prepared under the name that a command writes to."""
        for name in set(re.findall(r"--out[ =](\S+)", command) + self.out_of_config(command)) & self.prepared:
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            self.prepared.discard(name)

    def out_of_config(self, command):
        config = re.search(r"corda train .*--config[ =](\S+)", command)
        if not config or "--out" in command or not (self.folder / config.group(1)).is_file():
            return []
        return re.findall(r"^out: (\S+)", (self.folder / config.group(1)).read_text(encoding="utf-8"), re.M)

    def copy_to(self, folder):
        shutil.copytree(self.folder, folder, symlinks=True)
        other = World.__new__(World)
        other.folder, other.corda, other.prepared = folder, self.corda, set(self.prepared)
        other.environment = {name: value.replace(str(self.folder), str(folder)) for name, value in self.environment.items()}
        return other


def write_data(world):
    facts = [json.loads(line) for line in (world.folder / ".demo/facts.jsonl").read_text(encoding="utf-8").splitlines()[:12]]
    task = [json.loads(line) for line in (world.folder / ".demo/task_train.jsonl").read_text(encoding="utf-8").splitlines()[:24]]
    chat = [{"messages": [{"role": "user", "content": row["instruction"]}, {"role": "assistant", "content": row["output"]}]} for row in task[:8]]
    world.write("facts.jsonl", facts)
    world.write("questions.jsonl", facts)
    for name in ("task.jsonl", "train.jsonl"):
        world.write(name, task)
    world.write("test.jsonl", task[:4])
    world.write("chat.jsonl", chat)
    world.write("text.jsonl", [{"text": "One line of plain text, and another one. " * 20}] * 4)
    world.write("text.txt", "A plain text that a model may read.\nIt has two lines.\n" * 40)
    world.write("arc_easy.test.jsonl", [{"question": "What is red?", "choices": {"text": ["a rose", "grass"], "label": ["A", "B"]}, "answerKey": "A"}] * 3)
    world.write("triviaqa.jsonl", [{"question": "What is blue?", "answer": {"value": "sky", "aliases": ["sky", "the sky"]}}] * 2)
    world.write("gsm8k.test.jsonl", [{"question": "What is 1 plus 1?", "answer": "1 + 1 = 2\n#### 2"}] * 2)
    world.write("HumanEval.jsonl.gz", [{"task_id": "HumanEval/0", "prompt": "def one():\n", "entry_point": "one", "canonical_solution": "    return 1\n", "test": ""}])
    world.write("MbppPlus.jsonl.gz", [{"task_id": "Mbpp/2", "prompt": '"""\nOne.\nassert one() == 1\n"""\n', "entry_point": "one", "base_input": [[]]}])


def change_config(model, **values):
    path = model / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values, indent=1), encoding="utf-8")


def prepared_world(corda, folder):
    """The demo's model as `llama`, one that is wide enough for rank 128 under names of the hub, data, and finished runs.

    What is in `prepared` makes room for a command that writes to the same name.
    """
    world = World(corda, folder)
    world.must(f"{sys.executable} {ROOT}/scripts/demo/make_data.py --out .demo")
    write_data(world)
    shutil.copytree(ROOT / "scripts/demo/model", folder / "llama")
    change_config(folder / "llama", max_position_embeddings=2048)  # room for the answers of every task
    wide = folder / ".wide"
    shutil.copytree(ROOT / "scripts/demo/model", wide, ignore=shutil.ignore_patterns("model.safetensors"))
    change_config(wide, max_position_embeddings=2048, hidden_size=128, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4,
                  num_key_value_heads=4, head_dim=32)
    world.must(f"{sys.executable} {ROOT}/scripts/demo/init_model.py .wide")
    for name in ("org/name", "meta-llama/Llama-3.2-1B", "meta-llama/Llama-2-7b-hf"):
        repository = folder / ".hub" / ("models--" + name.replace("/", "--"))
        (repository / "refs").mkdir(parents=True)
        (repository / "refs/main").write_text("0123456789abcdef0123456789abcdef01234567", encoding="utf-8")
        shutil.copytree(wide, repository / "snapshots/0123456789abcdef0123456789abcdef01234567")
    shutil.copytree(ROOT / "configs", folder / "configs")
    settings = "model: llama\nmethod: lora\nlora: {rank: 4}\ndata: {train: [task.jsonl], eval: [test.jsonl], max_length: 128}\n" \
               "optim: {lr: 1.0e-3, batch_size: 8}\nthreads: 1\nout: run\n"
    for name in ("lora.yaml", "train.yaml"):
        world.write(name, settings)
    world.must("corda train --config train.yaml")
    world.must("corda calibrate --model llama --data facts.jsonl --activation-scaling none --out .cov")
    world.must("corda train --config train.yaml --set method=full --set gauge.covariance=.cov --set 'log=[jsonl, tensorboard]' --out run-full")
    for name in ("a", "b"):
        shutil.copytree(folder / "run", folder / "runs" / name)
    world.must("corda merge --model llama --adapter run/adapter --out merged")
    world.prepared = {"run", "merged", "lora.yaml", "train.yaml"}
    return world


def matches(expected, actual):
    """Whether the lines are equal; a line '...' stands for any lines, '...' in a line for any text."""
    if not expected:
        return not actual
    if expected[0].strip() == "...":
        return any(matches(expected[1:], actual[i:]) for i in range(len(actual) + 1))
    line = re.escape(expected[0].rstrip()).replace(re.escape("..."), ".*")
    return bool(actual) and re.fullmatch(line, actual[0].rstrip()) is not None and matches(expected[1:], actual[1:])


def reason_not_run(command):
    return next((reason for pattern, reason in CHECKED if re.match(pattern, command)), None)


def run_step(world, block, command, expected, last):
    """Runs one command; returns (what is wrong or None, exit status)."""
    if command == "echo $?":
        output, status = f"{last}\n", 0
    else:
        if expected is None:  # a block of the console may show that an output is there already
            world.forget_output(command)
        result = world.run(command)
        output, status = result.stdout, result.returncode
    if expected is None:
        return (f"{block.where()}: {command}\n  ended with {status}:\n{output}" if status else None), status
    actual = output.replace(str(world.folder) + "/", "").rstrip("\n").split("\n") if output.strip() else []
    while expected and not expected[-1].strip():
        expected = expected[:-1]
    if matches(expected, actual):
        return None, status
    return f"{block.where()}: {command}\n  prints\n" + "\n".join(actual) + "\n  and not\n" + "\n".join(expected), status


def check_page(page, program, new_world):
    """Runs or checks every command of a page."""
    wrong, counts = [], {"run": 0, "checked": 0}
    world = None
    for block in blocks_of(page, (ROOT / page).read_text(encoding="utf-8")):
        named = re.match(r"file=(\S+)$", block.info)
        if named:
            world = world or new_world(page)
            world.write(named.group(1), "\n".join(block.lines) + "\n")
            continue
        last = 0
        for command, expected in steps_of(block):
            unknown = program.unknown_in(command) + unknown_in_script(command)
            if unknown and expected is None:
                wrong.append(f"{block.where()}: {command}\n  " + "; ".join(unknown))
            elif reason := reason_not_run(command):
                print(f"{block.where()}: not run: {command}\n  {reason}")
                counts["checked"] += 1
            elif re.match(r"corda ", command) or SHELL.match(command):
                world = world or new_world(page)
                problem, last = run_step(world, block, command, expected, last)
                counts["run"] += 1
                wrong += [problem] if problem else []
            else:
                wrong.append(f"{block.where()}: {command}\n  is neither run nor in the table CHECKED of {pathlib.Path(__file__).name}")
    return wrong, counts


def lines_outside_code(text):
    inside = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip().startswith("```"):
            inside = not inside
        elif not inside and not line.startswith("    "):
            yield number, line


def check_words(page, text, program):
    """Settings and flags that a page names in passing, links, and README's size."""
    wrong = []
    groups = {name.split(".")[0] for name in program.settings if "." in name}
    all_flags = set().union(*program.flags.values())
    for number, line in lines_outside_code(text):
        for code in re.findall(r"`([^`]+)`", line):
            name = re.match(r"([a-z_]+)\.[a-z_]+(?=$|:|=)", code)
            if name and name.group(1) in groups and name.group(0) not in program.settings and not code.endswith((".py", ".sh", ".md", ".h", ".cpp", ".json", ".yaml")):
                wrong.append(f"{page}:{number}: there is no setting {name.group(0)}")
            flag = re.match(r"(--[a-z][a-z0-9-]*)", code)
            if flag and flag.group(1) not in all_flags | FOREIGN_FLAGS:
                wrong.append(f"{page}:{number}: no verb has {flag.group(1)}")
        for target in re.findall(r"\]\(([^)#\s]+)", line) + re.findall(r"src(?:set)?=\"([^\"]+)\"", line):
            linked = (ROOT / page).parent / target
            if not re.match(r"[a-z]+:", target) and not linked.exists():
                wrong.append(f"{page}:{number}: {target} is not there")
        is_prose = not line.strip().startswith(("|", "<", "!["))
        if page == "README.md" and is_prose and len(line) > LONGEST_LINE:
            wrong.append(f"{page}:{number}: a line of {len(line)} characters; {LONGEST_LINE} at most")
    if page == "README.md" and len(text.split()) >= README_WORDS:
        wrong.append(f"{page}: {len(text.split())} words; fewer than {README_WORDS} are wanted")
    return wrong


def check_figures(page, text):
    """Every row of four losses of a real model is one that was measured."""
    fields = ("gsm8k_nll", "answer_nll", "wikitext2_nll", "c4_nll")
    results = (ROOT / "scripts/experiments/results/real-models-h200.jsonl").read_text(encoding="utf-8").splitlines()
    measured = {tuple(f"{row[field]:.3f}" for field in fields) for row in map(json.loads, results) if row["step"] == "run"}
    wrong, rows = [], 0
    for number, line in lines_outside_code(text):
        figures = tuple(re.findall(r"(?<=\| )\**(\d\.\d{3})\**(?= \|)", line))
        if len(figures) == len(fields):
            rows += 1
            wrong += [f"{page}:{number}: {' '.join(figures)} were not measured"] if figures not in measured else []
    return wrong, rows


def tables_of(text):
    """The tables of a page outside of code: lists of (line, cells), the header first."""
    tables, before = [], None
    for number, line in lines_outside_code(text):
        if line.startswith("|"):
            if before != number - 1:
                tables.append([])
            tables[-1].append((number, [cell.strip().strip("*") for cell in line.strip().strip("|").split("|")]))
            before = number
    return tables


DUAL_METHODS = {"base": "base", "dual": "dual", "LoRA": "lora", "PiSSA": "pissa", "full": "full", "EVA": "eva", "KPA": "kpa", "IPA": "ipa", "random": "random",
                "SC-LoRA's": "sc", "LoRA-Null's": "null", "FoLoRA": "folora"}
DUAL_PARTS = {"nano-qa-11m": "nano", "GSM8K": "smol", "Shakespeare": "shakespeare", "code": "code"}
DUAL_FIELDS = {"task": "task", "known, %": "known", "answers": "answers", "wikitext-2": "wikitext2", "C4": "c4", "F": "F_qa"}
# What else a run may change than method, rate, decay, damping, rank, what stands for the task, and seed.
DUAL_USUAL = {"rows": "unit", "decay_kind": "plain", "modules": "all", "loss": "ce", "replay": 0.0, "core": 0, "ranks": "same", "stages": 1, "share": 1.0}


def dual_rows():
    results = (ROOT / "scripts/experiments/results/dual-ideas-h200.jsonl").read_text(encoding="utf-8").splitlines()
    return list(map(json.loads, results))


def settings_of_run(run):
    """Of '4e-3, decay 1, rank 64, gradient': rate, decay, damping, rank, and what stands for the task; 'gradient a layer' is that of each layer by itself."""
    patterns = ((r"\b(\d[\d.]*e-\d)", 0.0), (r"decay (\d+)", 0.0), (r"damping (\d[\d.]*)", 0.01), (r"rank (\d+)", 32))
    task = "grad" if "gradient a layer" in run else "gsite" if "gradient" in run else "task"
    return *(float(found.group(1)) if found else usual for found, usual in ((re.search(pattern, run), usual) for pattern, usual in patterns)), task


def settings_of_row(row):
    return tuple(row["options"][key] for key in ("lr", "decay", "damping", "rank", "T")) if "options" in row else (0.0, 0.0, 0.01, 32, "task")


def is_usual(row):
    return all(row["options"].get(key, value) == value for key, value in DUAL_USUAL.items()) and row["options"]["K"] == ("qa" if row["part"] == "nano" else "qa+text")


def check_dual_figures(page, text):
    """Every row of a table with a column `task` is a run of dual_ideas.py with the method and settings that it names; in cells 'a; b' each is one.

    Returns what is wrong and how many rows there are.
    """
    measured = [row for row in dual_rows() if "task" in row and "error" not in row]

    def was_measured(run, figures):
        named = DUAL_METHODS.get(run.split()[0].rstrip(","))  # None: "the same"
        for row in measured:
            if settings_of_row(row) == settings_of_run(run) and named in (None, row["method"]) and \
               all(field in row and f"{row[field]:.{len(figure.partition('.')[2])}f}" == figure for field, figure in figures):
                return True
        return False

    wrong, rows = [], 0
    for (_, header), _, *body in tables_of(text):
        for number, cells in body if "task" in header and "from" not in header else []:
            rows += 1
            fields, values = zip(*[(DUAL_FIELDS[name], cell.split("; ")) for name, cell in zip(header, cells) if name in DUAL_FIELDS and cell])
            if len(set(map(len, values))) != 1:
                wrong.append(f"{page}:{number}: the cells do not have the same number of runs")
            wrong += [f"{page}:{number}: {' '.join(run)} were not measured" for run in zip(*values) if not was_measured(cells[0], list(zip(fields, run)))]
    return wrong, rows


def check_dual_changes(page, text):
    """A table with a column `from` has, of the two runs of dual of each seed, what the second has more. Returns what is wrong and how many rows there are."""
    own = {}
    for row in dual_rows():
        if row["method"] == "dual" and row["scale"] == 1 and is_usual(row):
            own[row["part"], row["options"]["seed"], settings_of_row(row)] = row
    wrong, rows = [], 0
    for (_, header), _, *body in tables_of(text):
        for number, cells in body if "from" in header else []:
            rows += 1
            case, seeds, *pair = cells[:4]
            part, seeds = DUAL_PARTS[case], list(map(int, seeds.split(", ")))
            runs = [[own.get((part, seed, settings_of_run(run))) for run in pair] for seed in seeds]
            if not all(map(all, runs)):
                wrong.append(f"{page}:{number}: such runs were not made")
                continue
            for name, cell in list(zip(header, cells))[4:]:
                field = "known" if name == "answers" and part == "nano" else DUAL_FIELDS[name]
                shown = cell.removesuffix(" %").split("; ")
                found = [after[field] - before[field] for before, after in runs]
                if len(shown) != len(found) or any(abs(float(a) - b) > 0.5 * 10 ** -len(a.partition(".")[2]) + 1e-9 for a, b in zip(shown, found)):
                    wrong.append(f"{page}:{number}: {name} is {cell}; measured were {', '.join(f'{value:+.4f}' for value in found)}")
    return wrong, rows


def check_dual_front(page, text):
    """The table with columns `at most X` has the lowest loss of the runs on Shakespeare at or below each task loss, of dual (rate, decay, damping, rank, gradient) and of the best other method, which it names; the lower is in bold.

    Returns what is wrong and how many figures there are.
    """
    lines, wrong, figures = text.splitlines(), [], 0
    tasks = ("task", "grad", "gsite")
    runs = [row for row in dual_rows() if row["part"] == "shakespeare" and "options" in row and (is_usual(row) or row["method"] == "folora") and row["options"]["T"] in tasks]
    names = {method: name for name, method in DUAL_METHODS.items()}
    for (_, header), _, *body in tables_of(text):
        kept = None
        for number, cells in body if any(name.startswith("at most") for name in header) else []:
            kept, is_dual = cells[0] or kept, cells[1] == "dual"
            raw = lines[number - 1].strip().strip("|").split("|")
            for name, cell, is_bold in list(zip(header, cells, ["**" in cell for cell in raw]))[2:]:
                below = [(row[DUAL_FIELDS[kept]], row["method"]) for row in runs if row["task"] <= float(name.removeprefix("at most "))]
                own = min((pair for pair in below if (pair[1] == "dual") == is_dual), default=None)
                wanted = "" if own is None else f"{own[0]:.3f}" + ("" if is_dual else f" {names[own[1]]}")
                figures += bool(cell)
                if cell != wanted or is_bold != (own is not None and own == min(below)):
                    wrong.append(f"{page}:{number}: {kept}, {cells[1]}, {name}: '{wanted}' is wanted{', in bold' if own == min(below) else ''}")
    return wrong, figures


STUDY_FIELDS = {"task": "task", "knowledge, %": "known", "TriviaQA answers": "answers", "wikitext-2": "wikitext2", "C4": "c4"}


def check_study_figures(page, text):
    """A table whose first heading is a file of results has all of its runs: a row a method and rate, in the cells a figure a seed. Returns what is wrong and how many rows there are."""
    wrong, rows = [], 0
    for (line, header), _, *body in tables_of(text):
        file = ROOT / "scripts/experiments/results" / header[0].strip("`")
        if not re.fullmatch(r"`[a-z0-9-]+\.jsonl`", header[0]):
            continue
        measured = {}
        for row in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
            measured.setdefault((row["group"], row.get("rate")), []).append(row)
        shown = {}
        for number, cells in body:
            group, _, rate = cells[0].partition(" ")
            shown[group, float(rate) if rate else None] = number, cells
        wrong += [f"{page}:{line}: {' '.join(map(str, key))} is on one side alone, the page or {file.name}" for key in measured.keys() ^ shown.keys()]
        for key in measured.keys() & shown.keys():
            number, cells = shown[key]
            rows += 1
            for name, cell in list(zip(header, cells))[1:]:
                values = [row[STUDY_FIELDS[name]] for row in sorted(measured[key], key=lambda row: row.get("seed", 0))]
                given = cell.split("; ")
                if len(given) != len(values) or any(abs(float(a) - b) > 0.5 * 10 ** -len(a.partition(".")[2]) + 1e-9 for a, b in zip(given, values)):
                    wrong.append(f"{page}:{number}: {name} is {cell}; measured were {values}")
    return wrong, rows


def check_dual_counts(page, text):
    """The page says how many lines and runs the file has, and of how many runs each fit is."""
    rows, wrong = dual_rows(), []
    runs = [row for row in rows if "options" in row and row["scale"] == 1]
    of = {part: sum(row["part"] == part for row in runs) for part in DUAL_PARTS.values()}
    base = {row["part"]: row["task"] for row in rows if row.get("name") == "base"}
    fitted = {part: sum(row["part"] == part and row["task"] < 1.5 * base[part] for row in runs) for part in of}  # as the report has it
    wanted = (f"The file has {len(rows)} lines: {len(runs)} runs ({of['nano']} of nano-qa-11m, {of['smol']} of GSM8K on SmolLM2, {of['shakespeare']} of Shakespeare, {of['code']} of code), "
              f"{sum(row.get('scale', 1) != 1 for row in rows)} merge scales")
    if wanted not in " ".join(text.split()):
        wrong.append(f"{page}: does not say '{wanted}'")
    for case, part in DUAL_PARTS.items():
        found = re.findall(rf"^\| {case}[^|]*: answers(?:, %)?, (\d+) \|", text, re.M)
        if part != "code" and found != [str(fitted[part])]:
            wrong.append(f"{page}: the fit of {case} is of {fitted[part]} runs, not of {found}")
    return wrong


def check_dual_settings(program):
    """What docs/dual.md recommends stands in the shipped file, in what `config init` writes, and in the table of methods."""
    page = (ROOT / "docs/dual.md").read_text(encoding="utf-8")
    wanted = re.search(r"```yaml\noptim: \{lr: ([0-9.e-]+), decay_total: ([0-9.]+)\}", page)
    if wanted is None:
        return ["docs/dual.md: the block with the recommended optim is gone"]
    wanted, wrong = tuple(map(float, wanted.groups())), []
    for name, text in [("configs/corda-dual.yaml", (ROOT / "configs/corda-dual.yaml").read_text(encoding="utf-8")), ("corda config init dual", program.said("config", "init", "dual"))]:
        found = tuple(re.findall(rf"^  {key}: ([0-9.e-]+)(?= |$)", text, re.M) for key in ("lr", "decay_total"))
        if [len(values) for values in found] != [1, 1] or tuple(float(values[0]) for values in found) != wanted:
            wrong.append(f"{name}: lr and decay_total are {found}; docs/dual.md recommends {wanted}")
    row = re.search(r"CorDA `dual` \| ([0-9.e-]+) with `optim\.decay_total: ([0-9.]+)`", (ROOT / "docs/choosing-a-method.md").read_text(encoding="utf-8"))
    if row is None or tuple(map(float, row.groups())) != wanted:
        wrong.append(f"docs/choosing-a-method.md: its table does not give dual {wanted}, as docs/dual.md does")
    return wrong


def check_methods(program):
    """README's table of methods has the learning rates of docs/choosing-a-method.md, and `config init` writes them."""
    def rates(page):  # {method: (rate, decay_total)} of the table whose last head speaks of a learning rate
        found = {}
        for (_, header), _, *body in tables_of((ROOT / page).read_text(encoding="utf-8")):
            for _, cells in body if len(header) == 3 and header[-1].startswith("learning rate to") else []:
                methods = re.findall(r"`(\w+)`", cells[1])
                decay = re.search(r"`optim\.decay_total: (\d+)`", cells[2])
                values = re.findall(r"\d+e-\d", re.sub(r"\([^)]*\)", "", cells[2]))
                found |= {method: (float(value), float(decay.group(1)) if decay else 0.0) for method, value in zip(methods, values, strict=True)}
        return found

    readme, choosing = rates("README.md"), rates("docs/choosing-a-method.md")
    wrong = [] if readme == choosing else [f"README.md: its rates are {readme}; docs/choosing-a-method.md has {choosing}"]
    for method, wanted in readme.items():
        text = program.said("config", "init", method)
        values = [re.findall(rf"^  {key}: ([0-9.e-]+)(?= |$)", text, re.M) for key in ("lr", "decay_total")]
        if (float(values[0][0]), float(values[1][0]) if values[1] else 0.0) != wanted:
            wrong.append(f"README.md: {method} has {wanted}; corda config init writes {values}")
    return wrong + ([] if len(readme) == 7 else [f"README.md: rates of {sorted(readme)} alone were found"])


NUMBERS = "none one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split()


def check_families(program):
    """docs/families.md has a row for every family that the program reads, and README says how many decoders they are. A text tower that is no family of its own goes with its model."""
    listed = re.search(r"--assume-family.*?model_type: ([a-z0-9_, \n]+)", program.said("inspect", "--help"), re.S).group(1)
    known = set(re.findall(r"[a-z0-9_]+", listed)) - {"qwen3_vl_text"}
    decoders, towers = set(), set()
    for _, cells in tables_of((ROOT / "docs/families.md").read_text(encoding="utf-8"))[0][2:]:
        (towers if "text tower" in cells[-1] else decoders).update(cells[0].split(", "))
    wrong = [] if decoders | towers == known else [f"docs/families.md: {sorted((decoders | towers) ^ known)} is on one side alone, the page or the program"]
    said = f"Dense decoders of {NUMBERS[len(decoders)]} families"
    return wrong + ([] if said in (ROOT / "README.md").read_text(encoding="utf-8") else [f"README.md: does not say '{said}'"])


def check_modes(program):
    """README and docs/modes.md name every mode of `decompose`."""
    known = set(re.search(r"--mode ([a-z|]+)", program.said("decompose", "--help")).group(1).split("|"))
    others = re.search(r"Other modes \(([^)]+)\)", " ".join((ROOT / "README.md").read_text(encoding="utf-8").split()))
    named = set(re.findall(r"`(\w+)`", others.group(1))) | {"kpa", "ipa", "dual"}
    page = (ROOT / "docs/modes.md").read_text(encoding="utf-8")
    return [f"README.md: the mode {mode} is on one side alone, the page or the program" for mode in sorted(named ^ known)] + \
           [f"docs/modes.md: has nothing on {mode}" for mode in sorted(known) if f"`{mode}`" not in page]


def check_formats(program):
    """docs/data-and-templates.md has a row for every format of data."""
    formats = re.search(r"--format auto\|([a-z|-]+)", program.said("preview", "--help")).group(1).split("|")
    page = (ROOT / "docs/data-and-templates.md").read_text(encoding="utf-8")
    return [f"docs/data-and-templates.md: the format {name} has no row" for name in formats if f"\n| `{name}` |" not in page]


def check_orders():
    """What README says of its table of losses is so there: at a task loss like LoRA's KPA keeps the answers better and plain text worse; dual keeps the answers best and learns most."""
    rows = {}
    for _, cells in tables_of((ROOT / "README.md").read_text(encoding="utf-8"))[1][2:]:
        rows[" ".join(cells[0].split()[:-1]).removeprefix("CorDA ")] = list(map(float, cells[1:]))
    base, lora, kpa, ipa, dual = (rows[name] for name in ("base", "LoRA", "KPA", "IPA", "dual"))
    right = [abs(kpa[0] - lora[0]) < 0.01, kpa[1] < lora[1], kpa[2] > lora[2], kpa[3] > lora[3], ipa[0] < lora[0] < base[0], dual[0] < min(ipa[0], kpa[0]), dual[1] < min(kpa[1], lora[1], ipa[1])]
    return [] if all(right) else [f"README.md: its table of losses no longer shows what is said of it: {right}"]


def check_logs(world):
    """Every file of a run, and every field of its log, has a row in the page on them."""
    page = (ROOT / "docs/runs-and-logs.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)`", page, re.M)
    files = {path.name for name in ("run", "run-full") for path in (world.folder / name).iterdir()}
    lines = (world.folder / "run-full/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    fields = set().union(*map(json.loads, lines))
    assert {"eval_loss", "forgetting"} <= fields and "versions.jsonl" in files, "the run is too plain to check the page"
    known = lambda name: any(fnmatch.fnmatch(name, row.rstrip("/")) for row in rows)
    return [f"docs/runs-and-logs.md: {name} has no row" for name in sorted(files | fields) if name != "model" and not known(name)]


def tests_of_sources():
    """{`Suite.Test`: text of the files that it stands in}, and the same of `Suite.*`."""
    tests = {}
    for path in (ROOT / "tests").rglob("*_test.cpp"):
        text = path.read_text(encoding="utf-8")
        for suite, name in set(re.findall(r"^TEST(?:_[FP])?\((\w+),\s*(\w+)\)", text, re.M)):
            for key in (f"{suite}.{name}", f"{suite}.*"):
                tests[key] = tests.get(key, "") + text
    return tests


def check_tests(page):
    """The tests that a page names as `Suite.Test` or `Suite.*`, where each row of its last table has one at least, are there."""
    known, wrong = tests_of_sources(), []
    rows = tables_of((ROOT / page).read_text(encoding="utf-8"))[-1][2:]
    for _, row in rows:
        named = re.findall(r"`(\w+\.(?:\w+|\*))`", row[-1])
        wrong += [f"{page}: there is no test {name}" for name in named if name not in known]
        wrong += [] if named else [f"{page}: no test holds '{row[0]}'"]
    return wrong + ([] if len(rows) >= 20 else [f"{page}: only {len(rows)} sentences with tests were found"])


NUMBER = re.compile(r"(?<![\w.,-])(?:\d{1,3}(?: \d{3})+|\d+(?:\.\d+)?(?:e-\d+)?B?)(?!\d)")
MEASURE = re.compile(rf"({NUMBER.pattern})( (?:tok/s|GB|s)\b)?")


def sentences_of(text):
    """What a page says, sentence by sentence: paragraphs, items of lists, rows of tables without bars, lines of blocks ```text. Links are their text; heads of tables and rows that only point to pages are left out."""
    units, block = [[]], None
    lines = text.split("\n")
    for line, after in zip(lines, [*lines[1:], ""]):
        if line.startswith("```"):
            block = None if block is not None else line[3:].strip()
        elif block is not None:
            units += [[line]] if block == "text" else []
        elif line.startswith("|"):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            pointers = all(re.fullmatch(r"(\[[^]]+\]\([^)]+\)[,;]? ?)+", cell) for cell in cells[1:])
            units += [] if pointers or any(re.fullmatch(r"\|[|:\- ]*", rule) for rule in (line, after)) else [cells]
        elif re.match(r"#|<| *<|!\[", line) or not line.strip():
            units.append([])
        elif line.startswith("- "):
            units.append([line[2:]])
        else:
            units[-1].append(line)
    for unit in units:
        words = " ".join(re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", " ".join(unit)).split())
        yield from (part for part in re.split(r"(?<=[\w)`%]\.) (?=[A-Za-z`])", words) if part)


def held_by(cell, tests):
    """What a cell of docs/readme-claims.md cites: (text of the tests, text of the pages, what is not there)."""
    sources, pages, wrong = "", "", []
    listed = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("CMakeLists.txt"))
    for name in re.findall(r"`(\w+(?:\.(?:\w+|\*))?)`", cell):
        if name in tests:
            sources += tests[name]
        elif callable(globals().get(name)):
            continue
        elif not re.search(rf"(NAME |corda_test\(){re.escape(name)}\b", listed):
            wrong.append(f"there is no test {name}")
    for target in re.findall(r"\]\(([^)#\s]+)", cell):
        path = ROOT / "docs" / target
        if path.is_file():
            pages += path.read_text(encoding="utf-8")
        else:
            wrong.append(f"there is no {target}")
    return sources, " ".join(pages.split()), wrong


def check_claims(page):
    """docs/readme-claims.md holds README to account: what it quotes stands there word for word, the tests and pages that it cites are there, every number of the quote stands
    in one of the tests or, with its unit, in one of the pages, and no sentence and no number of README is left out."""
    sentences = list(sentences_of((ROOT / "README.md").read_text(encoding="utf-8")))
    readme, text, tests, wrong = " ".join(sentences), (ROOT / page).read_text(encoding="utf-8"), tests_of_sources(), []
    covered, rows = [], [row for table in tables_of(text) for row in table[2:]]
    rows += [(0, [line[2:], ""]) for line in text.partition("\n## Without a claim\n")[2].split("\n") if line.startswith("- ")]
    for number, cells in rows:
        where = f"{page}:{number}" if number else page
        found = [match.span() for match in re.finditer(re.escape(cells[0]), readme)]
        covered += found
        if len(found) != 1:
            wrong.append(f"{where}: README says {len(found)} times '{cells[0]}'")
        if number:
            sources, pages, absent = held_by(cells[-1], tests)
            wrong += [f"{where}: {what}" for what in absent] + ([] if pages or "`" in cells[-1] else [f"{where}: nothing holds '{cells[0]}'"])
            has = lambda figure, words: re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d)", words)
            wrong += [f"{where}: nothing that it cites has {figure}{unit}" for figure, unit in MEASURE.findall(cells[0])
                      if not has(figure, sources.replace("'", "")) and not has(figure + unit, pages)]
    begin = 0
    for sentence in sentences:
        end = begin + len(sentence)
        if not any(begin < last and first < end for first, last in covered):
            wrong.append(f"{page}: has nothing on '{sentence}'")
        begin = end + 1
    wrong += [f"{page}: has nothing on {match.group()} in '{readme[match.start() - 30:match.end() + 10]}'" for match in NUMBER.finditer(readme)
              if not any(first <= match.start() and match.end() <= last for first, last in covered)]
    return wrong + ([] if len(rows) >= 40 else [f"{page}: only {len(rows)} claims were found"])


def check_index(pages):
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    return [f"docs/README.md has no line for {page}" for page in pages if page.startswith("docs/") and page != "docs/README.md" and f"({page[5:]})" not in index]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corda", required=True, type=pathlib.Path, help="the program")
    parser.add_argument("--only", action="append", help="a page; may be given several times")
    parser.add_argument("--keep", type=pathlib.Path, help="leave the folders here")
    args = parser.parse_args()
    corda = str(args.corda.resolve())
    program = Program(corda)
    pages = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
    wrong = check_index(pages)
    for page, least in [("README.md", 5), ("docs/choosing-a-method.md", 13)]:
        found, rows = check_figures(page, (ROOT / page).read_text(encoding="utf-8"))
        wrong += found + ([f"{page}: only {rows} rows of figures were found"] if rows < least else [])
    dual = (ROOT / "docs/dual.md").read_text(encoding="utf-8")
    for check, least, what in [(check_dual_figures, 70, "rows of figures"), (check_dual_changes, 10, "rows of changes"), (check_dual_front, 30, "figures of the front")]:
        found, count = check("docs/dual.md", dual)
        wrong += found + ([f"docs/dual.md: only {count} {what} were found"] if count < least else [])
    wrong += check_dual_counts("docs/dual.md", dual)
    found, count = check_study_figures("docs/studies.md", (ROOT / "docs/studies.md").read_text(encoding="utf-8"))
    wrong += found + ([f"docs/studies.md: only {count} rows of figures were found"] if count < 12 else [])
    wrong += check_dual_settings(program)
    wrong += check_methods(program) + check_families(program) + check_modes(program) + check_formats(program) + check_orders()
    wrong += check_tests("docs/eval.md")
    wrong += check_claims("docs/readme-claims.md")
    drawn = subprocess.run([sys.executable, ROOT / "scripts/draw_images.py", "--check"], capture_output=True, text=True)
    wrong += [drawn.stderr.strip()] if drawn.returncode else []
    with tempfile.TemporaryDirectory() as temporary:
        work = args.keep or pathlib.Path(temporary)
        first = prepared_world(corda, work / "prepared")
        wrong += check_logs(first)
        totals = {"run": 0, "checked": 0}
        for page in args.only or pages:
            text = (ROOT / page).read_text(encoding="utf-8")
            found, counts = check_page(page, program, lambda name: first.copy_to(work / name.replace("/", "-")))
            found += check_words(page, text, program)
            wrong += found
            for key, count in counts.items():
                totals[key] += count
            print(f"{page}: {counts['run']} commands run, {counts['checked']} checked, {len(found)} wrong", flush=True)
    if not args.only and totals["run"] < 60:
        wrong.append(f"only {totals['run']} commands were run: are they still found?")
    print(f"{totals['run']} commands run, {totals['checked']} checked")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
