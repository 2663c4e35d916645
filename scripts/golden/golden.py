# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""What the golden generators share: determinism, places, writing of tensors, JSON and manifests."""

import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"


def read_pins(name):
    """Packages and versions of a requirements file that lies here."""
    return [line.split("==") for line in (Path(__file__).parent / name).read_text().split()]


PACKAGES = read_pins("requirements.txt")


def start(theme, seed, packages=None):
    """Makes torch deterministic and returns the emptied output folder of a theme. `packages`: pins other
    than those of requirements.txt."""
    for name, version in packages or PACKAGES:
        found = importlib.metadata.version(name)
        if found != version:
            raise SystemExit(f"{name} {version} is pinned; found {found}")
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    import transformers
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    folder = GOLDEN / theme
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def write_json(path, value):
    """Pretty outside, one line for each innermost list; floats as repr, so they read back exactly."""
    def render(v, indent):
        pad, inner = " " * indent, " " * (indent + 1)
        if isinstance(v, dict) and v:
            rows = [f"{inner}{json.dumps(k)}: {render(x, indent + 1)}" for k, x in v.items()]
            return "{\n" + ",\n".join(rows) + f"\n{pad}}}"
        if isinstance(v, list) and any(isinstance(x, (dict, list)) for x in v):
            return "[\n" + ",\n".join(inner + render(x, indent + 1) for x in v) + f"\n{pad}]"
        return json.dumps(v, allow_nan=False)
    Path(path).write_text(render(value, 0) + "\n")


def write_tensors(path, tensors):
    """Sorted by name, contiguous copies, so that the bytes depend on nothing but the values."""
    save_file({k: tensors[k].detach().clone().contiguous() for k in sorted(tensors)}, path)


def write_manifest(folder, script, seed, packages=None, **notes):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    for path in files:
        path.chmod(0o644)
    write_json(folder / "manifest.json", {
        "command": f"python scripts/golden/{script}",
        "seed": seed,
        "versions": dict(packages or PACKAGES),
        **notes,
        "files": {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
                  for p in files},
    })
    total = sum(p.stat().st_size for p in files)
    print(f"{folder.relative_to(ROOT)}: {len(files)} files, {total / 1000:.0f} kB")


def load_model(name, dtype=torch.float32, **config):
    """A golden model for fp32 (or fp64) arithmetic, attention written out in plain operations.
    Keys of the configuration can be replaced."""
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(GOLDEN / "models" / name, dtype=dtype,
                                                 attn_implementation="eager", **config)
    return model.eval()


def right_pad(rows, value=0):
    """[B, T] int64 and its [B, T] int64 mask of real tokens."""
    width = max(len(r) for r in rows)
    padded = torch.tensor([list(r) + [value] * (width - len(r)) for r in rows])
    mask = torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in rows])
    return padded, mask


def relative(got, want):
    """max |got - want| / max |want|."""
    return ((got.double() - want.double()).abs().max() / want.double().abs().max()).item()
