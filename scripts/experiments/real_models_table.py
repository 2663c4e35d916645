# SPDX-License-Identifier: Apache-2.0
"""Markdown tables of real_models.py's results."""
from plot import spread

NAMES = {"base": "base model", "lora": "LoRA", "kpa": "CorDA KPA", "ipa": "CorDA IPA", "dual": "CorDA dual", "dual-decay": "CorDA dual, decay 1"}
FIGURES = [("GSM8K loss", "gsm8k_nll", 3), ("TriviaQA answers' loss", "answer_nll", 3), ("TriviaQA exact match, %", "knowledge", 1),
           ("wikitext-2 loss", "wikitext2_nll", 3), ("C4 loss", "c4_nll", 3)]


def job_table(rows):
    """One line a model, method and learning rate; with several seeds their mean and, in brackets, the largest minus the smallest."""
    lines = ["| model | method, learning rate | " + " | ".join(title for title, _, _ in FIGURES) + " | seeds |", "|---|---|" + "---:|" * (len(FIGURES) + 1)]
    order = list(NAMES)
    groups = {}
    for row in sorted(rows, key=lambda r: (r["model"], order.index(r["method"]), float(r.get("lr") or 0))):
        groups.setdefault((row["model"], row["method"], row.get("lr", "")), []).append(row)
    for (model, method, rate), group in groups.items():
        name = NAMES[method] + (f" {rate}" if rate else "")
        lines.append(f"| {model} | {name} | " + " | ".join(spread(group, field, digits) for _, field, digits in FIGURES) + f" | {len(group)} |")
    return lines


def agreement_table(rows):
    lines = ["| model | what | corda | transformers | difference | allowed |", "|---|---|---:|---:|---:|---:|"]
    for row in rows:
        if "nll" in row:
            what = f"loss, {row['what']}, {row['dtype']}" + (f", windows of {row['seq_len']}" if "seq_len" in row else "")
            same = "" if row["tokens"] == row["reference_tokens"] else f" ({row['tokens']} tokens against {row['reference_tokens']})"
            lines.append(f"| {row['model']} | {what} | {row['nll']:.6f} | {row['reference_nll']:.6f} | {row['difference']:.1e}{same} | {row['tolerance']:.0e} |")
        else:
            lines.append(f"| {row['model']} | {row['what']}, {row['dtype']} | {row['equal']} of {row['answers']} equal | | | |")
    return lines


def tables(rows):
    compared = [row for row in rows if row["step"] == "compare"]
    ran = [row for row in rows if row["step"] == "run"]
    return "\n".join([*(agreement_table(compared) if compared else []), "", *(job_table(ran) if ran else [])]).strip() + "\n"
