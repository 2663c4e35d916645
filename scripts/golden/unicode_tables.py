# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""Writes the tables in src/tokenizer/unicode_late.cpp and unicode_scripts.cpp.

    python -m pip install unicodedataplus==16.0.0.post1 tokenizers==0.23.3
    python scripts/golden/unicode_tables.py            # --check: only says whether anything would change

unicode_late: code points, categories and scripts that Unicode 15, 15.1 and 16 brought. unicode_scripts: the classes of the tokenizers library's UnicodeScripts step, found by asking it
where it cuts. clang-format must be there, as for every change.
"""

import argparse
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import tokenizers
import unicodedataplus
from tokenizers import pre_tokenizers

SOURCE = Path(__file__).resolve().parents[2] / "src" / "tokenizer"
POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]


def runs(values):
    """[first, last, value] of neighbouring code points with one value."""
    made = []
    for point, value in values:
        if made and made[-1][1] == point - 1 and made[-1][2] == value:
            made[-1][1] = point
        else:
            made.append([point, point, value])
    return made


def late_points():
    return [c for c in POINTS if unicodedataplus.age(chr(c)) in ("15.0", "15.1", "16.0") and unicodedataplus.category(chr(c)) != "Cn"]


def late_categories():
    return [f'{{0x{a:X}, 0x{b:X}, "{category}"}}' for a, b, category in runs((c, unicodedataplus.category(chr(c))) for c in late_points())]


def late_scripts():
    letters = lambda name: re.sub("[^a-z]", "", name.lower())
    short = unicodedataplus.property_value_aliases["script"]
    return [f'{{0x{a:X}, 0x{b:X}, "{letters(script)}", "{letters(short[script][0])}"}}' for a, b, script in runs((c, unicodedataplus.script(chr(c))) for c in late_points())]


def script_classes():
    """Classes by their first code point, from 1; code points that cut nowhere are left out."""
    step = pre_tokenizers.UnicodeScripts()
    joined = lambda a, b: len(step.pre_tokenize_str(chr(a) + chr(b))) == 1
    first = []  # of each class
    classes = []
    last = 0
    for c in POINTS:
        if joined(0x41, c) and joined(0x416, c):  # Latin and Cyrillic
            continue
        number = next((n for n in [last, *range(1, len(first) + 1)] if n and joined(first[n - 1], c)), 0)
        if not number:
            first.append(c)
            number = len(first)
        classes.append((c, number))
        last = number
    return [f"{{0x{a:X}, 0x{b:X}, {number}}}" for a, b, number in runs(classes)]


def with_table(text, name, rows, wrapped):
    """The file with other rows in `name`; tables that clang-format leaves alone are wrapped here."""
    body = ", ".join(rows)
    if wrapped:
        body = "\n" + textwrap.indent("\n".join(textwrap.wrap(body.replace("}, {", "},\0{").replace(" ", "\1").replace("\0", " "), 96)).replace("\1", " "), "    ")
    made, count = re.subn(rf"({name}\[\] = {{).*?}}}};", lambda match: match[1] + body + "};", text, flags=re.S)
    assert count == 1, name
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    assert unicodedataplus.unidata_version == "16.0.0" and tokenizers.__version__ == "0.23.3"
    tables = {"unicode_late.cpp": [("kLate", late_categories(), False), ("kLateScripts", late_scripts(), False)], "unicode_scripts.cpp": [("kRuns", script_classes(), True)]}
    changed = []
    for name, parts in tables.items():
        text = before = (SOURCE / name).read_text()
        for table, rows, wrapped in parts:
            text = with_table(text, table, rows, wrapped)
        text = subprocess.run(["clang-format", f"--assume-filename={SOURCE / name}"], input=text, capture_output=True, text=True, check=True).stdout
        if text != before:
            changed.append(name)
            if not args.check:
                (SOURCE / name).write_text(text)
    print("changed:", " ".join(changed) or "nothing")
    return 1 if args.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
