# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""Regenerates every golden file; the later themes read the models that the first one writes."""

import os
import subprocess
import sys
from pathlib import Path

from golden import GOLDEN

LIMIT = 2_000_000
here = Path(__file__).parent
for script in ("models.py", "covariance.py", "train.py", "corda_math.py"):
    subprocess.run([sys.executable, here / script], check=True,
                   env=dict(os.environ, PYTHONHASHSEED="0"))
total = sum(p.stat().st_size for theme in ("models", "covariance", "train", "corda")
            for p in (GOLDEN / theme).rglob("*") if p.is_file())
print(f"together {total / 1000:.0f} kB")
sys.exit(f"more than {LIMIT / 1000:.0f} kB" if total > LIMIT else 0)
