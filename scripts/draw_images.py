#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the pictures of README.md and docs/ into docs/images, each for a light and a dark page.

  scripts/draw_images.py            # writes them
  scripts/draw_images.py --check    # says which of them are not what would be written

method      which directions of a layer KPA, IPA and dual adapt, by what two texts put into them (a sketch, no measurement)
forgetting  what a real base loses of what it knew against what it learnt (results/real-models-h200.jsonl)
"""
import argparse
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs/images"
RESULTS = ROOT / "scripts/experiments/results/real-models-h200.jsonl"
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


def pictures():
    return {f"{name}-{theme}.svg": draw(colours) for name, draw in [("method", method), ("forgetting", forgetting)] for theme, colours in THEMES.items()}


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
