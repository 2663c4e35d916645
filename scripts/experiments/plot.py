#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A Markdown table and an SVG plot of knowledge kept against task loss, from the results of nano_qa.sh."""
import argparse
import json
import pathlib
import statistics
from xml.sax.saxutils import escape

NAMES = {"base": "base model", "lora": "LoRA", "dora": "DoRA", "pissa": "PiSSA", "full": "full fine-tuning", "kpa": "CorDA KPA (questions)",
         "kpa-qa": "CorDA KPA (questions and answers)", "ipa": "CorDA IPA", "dual": "CorDA dual"}
# Colours that people with the common kinds of colour blindness can tell apart (Okabe and Ito).
COLOURS = {"lora": "#000000", "dora": "#7f7f7f", "pissa": "#cc79a7", "full": "#d55e00", "kpa": "#56b4e9", "kpa-qa": "#0072b2",
           "ipa": "#e69f00", "dual": "#009e73"}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 480, 64, 250, 24, 56


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def grouped(results):
    """(method, lr) -> results of its seeds, methods in the order of NAMES, rates ascending."""
    groups = {}
    order = list(NAMES)
    key = lambda r: (order.index(r["method"]), float(r.get("lr") or 0), r.get("seed", 0))
    for result in sorted(results, key=key):
        groups.setdefault((result["method"], result.get("lr", "")), []).append(result)
    return groups


def mean(rows, field):
    return statistics.fmean(row[field] for row in rows)


def spread(rows, field, digits):
    """Mean, and how far the seeds lie apart (largest minus smallest) where there are several."""
    values = [row[field] for row in rows]
    text = f"{statistics.fmean(values):.{digits}f}"
    return text if len(values) < 2 else f"{text} ({max(values) - min(values):.{digits}f})"


def table(groups, reference):
    lines = ["| method | learning rate | GSM8K NLL (spread) | knowledge % (spread) | seeds |" + (" PEFT: NLL | PEFT: knowledge % |" if reference else ""),
             "|---|---:|---:|---:|---:|" + ("---:|---:|" if reference else "")]
    for (method, rate), rows in groups.items():
        line = f"| {NAMES[method]} | {rate} | {spread(rows, 'gsm8k_nll', 3)} | {spread(rows, 'knowledge', 1)} | {len(rows)} |"
        if reference:
            peer = reference.get((method, rate))
            line += f" {mean(peer, 'gsm8k_nll'):.3f} | {mean(peer, 'knowledge'):.1f} |" if peer else " | |"
        lines.append(line)
    return "\n".join(lines) + "\n"


def ticks(low, high, step):
    first = int(low / step + 0.999999)
    return [round(i * step, 6) for i in range(first, int(high / step + 1e-9) + 1)]


def plot(groups, reference):
    points = {key: rows for key, rows in groups.items() if key[0] != "base"}
    losses = [row["gsm8k_nll"] for rows in [*points.values(), *reference.values()] for row in rows]
    low, high = min(losses) - 0.03, max(losses) + 0.03
    step = next(s for s in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5) if (high - low) / s <= 8)
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    x = lambda loss: LEFT + (loss - low) / (high - low) * inner_width
    y = lambda knowledge: TOP + (1 - knowledge / 100) * inner_height
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
           "<title>Knowledge kept against task loss</title>", f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>']
    for tick in ticks(low, high, step):
        svg.append(f'<line x1="{x(tick):.1f}" y1="{TOP}" x2="{x(tick):.1f}" y2="{TOP + inner_height}" stroke="#e4e4e4"/>')
        svg.append(f'<text x="{x(tick):.1f}" y="{TOP + inner_height + 18}" text-anchor="middle">{tick:g}</text>')
    for tick in range(0, 101, 20):
        svg.append(f'<line x1="{LEFT}" y1="{y(tick):.1f}" x2="{LEFT + inner_width}" y2="{y(tick):.1f}" stroke="#e4e4e4"/>')
        svg.append(f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick}</text>')
    svg.append(f'<rect x="{LEFT}" y="{TOP}" width="{inner_width}" height="{inner_height}" fill="none" stroke="#888888"/>')
    svg.append(f'<text x="{LEFT + inner_width / 2}" y="{HEIGHT - 14}" text-anchor="middle">GSM8K test loss, nats a token (further left: learned more)</text>')
    middle = TOP + inner_height / 2
    svg.append(f'<text x="16" y="{middle}" text-anchor="middle" transform="rotate(-90 16 {middle})">knowledge kept, % exact match</text>')

    legend = TOP + 8
    for method in NAMES:
        own = [(rate, rows) for (name, rate), rows in points.items() if name == method]
        peers = [rows for (name, _), rows in reference.items() if name == method]
        if not own and not peers:
            continue
        colour = COLOURS[method]
        path = " ".join(f"{x(mean(rows, 'gsm8k_nll')):.1f},{y(mean(rows, 'knowledge')):.1f}" for _, rows in own)
        svg.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5" opacity="0.6"/>')
        for rate, rows in own:
            for row in rows:
                tip = escape(f"{NAMES[method]}, lr {rate}: {row['gsm8k_nll']:.3f}, {row['knowledge']:.1f} %")
                svg.append(f'<circle cx="{x(row["gsm8k_nll"]):.1f}" cy="{y(row["knowledge"]):.1f}" r="4.5" fill="{colour}" '
                           f'fill-opacity="0.8"><title>{tip}</title></circle>')
        for rows in peers:
            for row in rows:
                svg.append(f'<rect x="{x(row["gsm8k_nll"]) - 5:.1f}" y="{y(row["knowledge"]) - 5:.1f}" width="10" height="10" '
                           f'fill="none" stroke="{colour}" stroke-width="1.5"><title>PEFT</title></rect>')
        svg.append(f'<circle cx="{WIDTH - RIGHT + 20}" cy="{legend}" r="4.5" fill="{colour}"/>')
        svg.append(f'<text x="{WIDTH - RIGHT + 32}" y="{legend + 4}">{escape(NAMES[method])}</text>')
        legend += 20
    if reference:
        svg.append(f'<rect x="{WIDTH - RIGHT + 15}" y="{legend - 5}" width="10" height="10" fill="none" stroke="#444444" stroke-width="1.5"/>')
        svg.append(f'<text x="{WIDTH - RIGHT + 32}" y="{legend + 4}">the same with PEFT</text>')
    svg.append("</svg>")
    return "\n".join(svg) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--reference", type=pathlib.Path, help="results of another program, shown beside")
    parser.add_argument("--table", type=pathlib.Path)
    parser.add_argument("--svg", type=pathlib.Path)
    args = parser.parse_args()
    groups = grouped(read(args.results))
    reference = grouped(read(args.reference)) if args.reference else {}
    if args.table:
        args.table.write_text(table(groups, reference), encoding="utf-8")
    if args.svg and any(method != "base" for method, _ in groups):
        args.svg.write_text(plot(groups, reference), encoding="utf-8")


if __name__ == "__main__":
    main()
