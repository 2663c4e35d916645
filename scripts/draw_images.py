#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the pictures of README.md and docs/ into docs/images, each for a light and a dark page.

  scripts/draw_images.py            # writes them
  scripts/draw_images.py --check    # says which of them are not what would be written

method      which directions of a layer KPA, IPA and dual adapt, by what two texts put into them (a sketch, no measurement)
forgetting  what a real base loses of what it knew against what it learnt (results/real-models-h200.jsonl)
dual        the same of dual and others, with and without weight decay, on three cases (results/dual-ideas-h200.jsonl)
"""
import argparse
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs/images"
RESULTS = ROOT / "scripts/experiments/results/real-models-h200.jsonl"
DUAL_RESULTS = ROOT / "scripts/experiments/results/dual-ideas-h200.jsonl"
MODEL = "smollm2-135m"
# Ink, faint lines, paper, and a colour a method; Okabe and Ito's, which people with the common kinds of colour blindness can tell apart.
THEMES = {
    "light": {"ink": "#1f2328", "faint": "#d1d9e0", "soft": "#59636e", "paper": "#ffffff", "know": "#0072b2", "task": "#d55e00",
              "lora": "#000000", "kpa": "#0072b2", "ipa": "#e69f00", "dual": "#009e73", "base": "#7f7f7f"},
    "dark": {"ink": "#f0f6fc", "faint": "#3d444d", "soft": "#9198a1", "paper": "#0d1117", "know": "#56b4e9", "task": "#e69f00",
             "lora": "#f0f6fc", "kpa": "#56b4e9", "ipa": "#e69f00", "dual": "#2fbf96", "base": "#9198a1"},
}
NAMES = {"base": "base model", "lora": "LoRA", "kpa": "CorDA KPA", "ipa": "CorDA IPA", "dual": "CorDA dual"}


def document(width, height, title, theme, body):
    style = f'font-family="system-ui, sans-serif" font-size="14" fill="{theme["ink"]}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {style}>', f"<title>{title}</title>",
                      f'<rect width="{width}" height="{height}" rx="6" fill="{theme["paper"]}"/>', *body, "</svg>"]) + "\n"


def text(x, y, words, anchor="start", **attributes):
    extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{extra}>{words}</text>'


def line(x1, y1, x2, y2, colour, width=1, **attributes):
    extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{colour}" stroke-width="{width}"{extra}/>'


# Energy of each input direction of a layer: of what the model should keep, of what it should learn.
DIRECTIONS = [(96, 30), (88, 84), (74, 22), (62, 70), (50, 12), (40, 62), (30, 18), (22, 54), (14, 10), (10, 40), (7, 26), (4, 6)]


def chosen(score, count=3):
    return set(sorted(range(len(DIRECTIONS)), key=lambda i: score(*DIRECTIONS[i]))[-count:])


def method(theme):
    width, height, left, base, tall, step = 860, 348, 214, 206, 150, 52
    body = [text(20, 34, "What goes into a layer,"), text(20, 54, "direction by direction:")]
    for y, key, words in [(86, "know", "what the model"), (134, "task", "what it should")]:
        body += [f'<rect x="20" y="{y - 11}" width="14" height="14" fill="{theme[key]}"/>', text(42, y, words)]
    body += [text(42, 104, "should keep"), text(42, 152, "learn")]
    body.append(line(left - 6, base, left + step * len(DIRECTIONS), base, theme["soft"]))
    for i, (know, task) in enumerate(DIRECTIONS):
        x = left + i * step
        for offset, value, key in [(4, know, "know"), (23, task, "task")]:
            bar = value / 100 * tall
            body.append(f'<rect x="{x + offset}" y="{base - bar:g}" width="17" height="{bar:g}" fill="{theme[key]}"/>')
    rows = [("kpa", "KPA", "least of what is kept", chosen(lambda know, task: -know)),
            ("ipa", "IPA", "most of what is learnt", chosen(lambda know, task: task)),
            ("dual", "dual", "most learnt per kept", chosen(lambda know, task: task / know))]
    for row, (key, name, words, directions) in enumerate(rows):
        y = base + 32 + row * 32
        body += [text(20, y, name, font_weight="bold", fill=theme[key]), text(62, y, words, fill=theme["soft"], font_size="13")]
        for i in range(len(DIRECTIONS)):
            x = left + i * step + 22
            fill = theme[key] if i in directions else "none"
            body.append(f'<circle cx="{x}" cy="{y - 5}" r="8" fill="{fill}" stroke="{theme[key] if i in directions else theme["faint"]}" stroke-width="1.5"/>')
    body.append(text(20, height - 10, "A filled circle: this direction is adapted. LoRA takes random ones.", font_size="13", fill=theme["soft"]))
    return document(width, height, "Which directions of a layer CorDA adapts (a sketch)", theme, body)


def ticks(low, high, step):
    count = int(round((high - low) / step))
    return [round(low + i * step, 6) for i in range(count + 1)]


def forgetting(theme):
    rows = [json.loads(row) for row in RESULTS.read_text(encoding="utf-8").splitlines() if row.strip()]
    rows = [row for row in rows if row["step"] == "run" and row["model"] == MODEL]
    before = next(row for row in rows if row["method"] == "base")
    runs = [row for row in rows if row["method"] != "base"]
    width, height, left, right, top, bottom = 860, 420, 70, 190, 28, 62
    low, high, least, most = 0.64, 0.70, 0.0, 2.5
    x = lambda loss: left + (loss - low) / (high - low) * (width - left - right)
    y = lambda lost: top + (1 - (lost - least) / (most - least)) * (height - top - bottom)
    body = []
    for tick in ticks(low, high, 0.01):
        body += [line(x(tick), top, x(tick), height - bottom, theme["faint"]), text(x(tick), height - bottom + 20, f"{tick:.2f}", "middle", font_size="13")]
    for tick in ticks(least, most, 0.5):
        body += [line(left, y(tick), width - right, y(tick), theme["faint"]), text(left - 8, y(tick) + 5, f"{tick:.1f}", "end", font_size="13")]
    body += [text((left + width - right) / 2, height - 16, f"GSM8K test loss, nats a token (base: {before['gsm8k_nll']:.2f}); further left: learnt more", "middle"),
             text(20, (top + height - bottom) / 2, "TriviaQA answers: loss gained; lower: kept more", "middle",
                  transform=f"rotate(-90 20 {(top + height - bottom) / 2:g})")]
    for place, key in enumerate(["lora", "kpa", "ipa", "dual"]):
        own = sorted((row for row in runs if row["method"] == key), key=lambda row: float(row["lr"]))
        points = [(x(row["gsm8k_nll"]), y(row["answer_nll"] - before["answer_nll"]), row) for row in own]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py, _ in points)
        body.append(f'<polyline points="{path}" fill="none" stroke="{theme[key]}" stroke-width="2"/>')
        for px, py, row in points:
            tip = f"{NAMES[key]} {row['lr']}: GSM8K {row['gsm8k_nll']:.3f}, TriviaQA answers {row['answer_nll']:.3f}"
            body.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="6" fill="{theme[key]}"><title>{tip}</title></circle>')
            body.append(text(round(px + 10, 1), round(py - 8, 1), row["lr"], font_size="12", fill=theme["soft"]))
        legend = top + 12 + 26 * place
        body += [f'<circle cx="{width - right + 26}" cy="{legend}" r="6" fill="{theme[key]}"/>', text(width - right + 42, legend + 5, NAMES[key])]
    return document(width, height, "Forgetting against task loss, SmolLM2-135M, rank 32", theme, body)


# Panels of the picture `dual`: part of the results, headline, what is kept and its name, range and step of the task's loss, and of what is lost.
PANELS = [
    ("nano", "nano-qa-11m, GSM8K", "known answers lost, %", lambda row, base: base["known"] - row["known"], (1.70, 2.00, 0.1), (0, 60, 10)),
    ("smol", "SmolLM2-135M, GSM8K", "answers, loss gained", lambda row, base: row["answers"] - base["answers"], (0.63, 0.71, 0.02), (0, 3, 0.5)),
    ("shakespeare", "SmolLM2-135M, Shakespeare", "answers, loss gained", lambda row, base: row["answers"] - base["answers"], (3.13, 3.18, 0.01), (0, 4, 1)),
]
# Series: method, whether it decays, what stands for the task, colour.
SERIES = [("LoRA", "lora", False, "task", "lora"), ("LoRA, decay", "lora", True, "task", "lora"), ("PiSSA", "pissa", False, "task", "ipa"), ("dual", "dual", False, "task", "dual"),
          ("dual, decay", "dual", True, "task", "dual"), ("dual, decay, gradient", "dual", True, "grad", "kpa")]
# What the runs of the picture have in common: rate, decay and what stands for the task are chosen.
USUAL = {"seed": 0, "rank": 32, "rows": "unit", "damping": 0.01, "decay_kind": "plain", "modules": "all", "loss": "ce", "replay": 0.0,
         "core": 0, "ranks": "same", "stages": 1, "share": 1.0}


def plain_runs(rows, part, method_name, decays, task):
    usual = {**USUAL, "method": method_name, "T": task, "K": "qa" if part == "nano" else "qa+text"}
    own = [row for row in rows if row["part"] == part and "options" in row and "error" not in row and row["scale"] == 1]
    return [row for row in own if all(row["options"].get(key, value) == value for key, value in usual.items()) and (row["options"]["decay"] > 0) == decays]


def front_of(points):
    """Of (task loss, lost, row) those that no other beats in both."""
    best, kept = float("inf"), []
    for point in sorted(points, key=lambda point: point[:2]):
        if point[1] < best:
            best = point[1]
            kept.append(point)
    return kept


def dual(theme):
    rows = [json.loads(row) for row in DUAL_RESULTS.read_text(encoding="utf-8").splitlines() if row.strip()]
    width, height, wide, top, bottom = 860, 372, 222, 66, 82
    body = []
    for (name, _, decays, _, colour), place in zip(SERIES, (50, 150, 300, 410, 510, 660), strict=True):
        body += [mark(place, 20, decays, theme[colour]), text(place + 14, 25, name)]
    for panel, (part, headline, kept, lost, (low, high, step), (least, most, rise)) in enumerate(PANELS):
        left = 56 + panel * (wide + 62)
        base = next(row for row in rows if row["part"] == part and row["name"] == "base")
        x = lambda loss, left=left, low=low, high=high: left + (loss - low) / (high - low) * wide
        y = lambda value, least=least, most=most: top + (1 - (value - least) / (most - least)) * (height - top - bottom)
        body.append(text(left + wide / 2, top - 12, headline, "middle", font_weight="bold"))
        for tick in ticks(low, high, step):
            place = round(x(tick), 1)
            body += [line(place, top, place, height - bottom, theme["faint"]), text(place, height - bottom + 18, f"{tick:.2f}", "middle", font_size="12")]
        for tick in ticks(least, most, rise):
            place = round(y(tick), 1)
            body += [line(left, place, left + wide, place, theme["faint"]), text(left - 6, place + 4, f"{tick:g}", "end", font_size="12")]
        middle = (top + height - bottom) / 2
        body.append(text(left - 34, middle, kept, "middle", font_size="13", transform=f"rotate(-90 {left - 34} {middle:g})"))
        for name, wanted, decays, wants, colour in SERIES:
            points = [(row["task"], lost(row, base), row) for row in plain_runs(rows, part, wanted, decays, wants)]
            points = [point for point in points if low <= point[0] <= high and least <= point[1] <= most]
            path = " ".join(f"{x(task):.1f},{y(value):.1f}" for task, value, _ in front_of(points))
            dashes = "" if decays else ' stroke-dasharray="3 4"'
            body.append(f'<polyline points="{path}" fill="none" stroke="{theme[colour]}" stroke-width="2"{dashes}/>')
            for task, value, row in points:
                decay = f", decay {row['options']['decay']:g}" if decays else ""
                gradient = ", gradient of each layer" if wants == "grad" else ""
                tip = f"{name.split(',')[0]} {row['lr']:g}{decay}{gradient}: task {task:.3f}, {kept} {value:.3g}"
                body.append(mark(round(x(task), 1), round(y(value), 1), decays, theme[colour], tip))
    body.append(text(width / 2, height - 42, "loss on the task, nats a token; further left: learnt more", "middle"))
    body.append(text(20, height - 14, "Seed 0, rank 32. Lower: kept more. Lines join the runs that no run of the same kind beats; what is outside is left out.",
                     font_size="13", fill=theme["soft"]))
    return document(width, height, "Forgetting against task loss, with and without weight decay", theme, body)


def mark(x, y, filled, colour, tip=""):
    inner = f"<title>{tip}</title>" if tip else ""
    return f'<circle cx="{x:g}" cy="{y:g}" r="5" fill="{colour if filled else "none"}" stroke="{colour}" stroke-width="2">{inner}</circle>'


def pictures():
    drawn = [("method", method), ("forgetting", forgetting), ("dual", dual)]
    return {f"{name}-{theme}.svg": draw(colours) for name, draw in drawn for theme, colours in THEMES.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args()
    stale = []
    for name, svg in pictures().items():
        path = IMAGES / name
        if args.check:
            if not path.is_file() or path.read_text(encoding="utf-8") != svg:
                stale.append(name)
        else:
            IMAGES.mkdir(parents=True, exist_ok=True)
            path.write_text(svg, encoding="utf-8")
    if stale:
        sys.exit(f"docs/images: {', '.join(stale)} would be drawn differently today; run scripts/draw_images.py")


if __name__ == "__main__":
    main()
