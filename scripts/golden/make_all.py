# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""Regenerates every golden file that needs no data from elsewhere; the themes after the first read the models that it writes."""

import os
import subprocess
import sys
from pathlib import Path

from golden import GOLDEN

LIMIT = 4_000_000  # as tests/golden_test.cmake
here = Path(__file__).parent
for script in ("models.py", "covariance.py", "train.py", "corda_math.py", "decompose.py", "tokenizer.py", "chat_templates.py", "chat_data.py",
               "families.py", "config_rules.py"):
    folder = [GOLDEN / "decompose"] if script == "decompose.py" else []
    subprocess.run([sys.executable, here / script, *folder], check=True,
                   env=dict(os.environ, PYTHONHASHSEED="0"))
total = sum(p.stat().st_size for p in GOLDEN.rglob("*") if p.is_file())
print(f"together {total / 1000:.0f} kB")
sys.exit(f"more than {LIMIT / 1000:.0f} kB" if total > LIMIT else 0)
