# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/decompose: small layers decomposed by numpy and scipy in fp64, for the C++ tests.

Usage: python scripts/golden/decompose.py tests/golden/decompose    (needs numpy, scipy, safetensors)
"""
import hashlib
import json
import pathlib
import sys

import numpy as np
import scipy
import scipy.linalg
from safetensors.numpy import save_file

RANK = 4
DAMPING = 0.01


def orthogonal(rng, n):
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


def layer(rng, out, inp, outlier=False, rank=None):
    """W with singular values over 2.5 decades (`rank` of them, the rest zero), C with a power-law spectrum."""
    k = min(out, inp)
    s = np.logspace(0.5, -2, k)
    if rank is not None:
        s[rank:] = 0
    w = (orthogonal(rng, out)[:, :k] * s) @ orthogonal(rng, inp)[:, :k].T
    lam = np.arange(1, inp + 1, dtype=np.float64) ** -1.2
    if outlier:
        lam[0] = 1e4 * lam[1:].sum()
    q = orthogonal(rng, inp)
    c = (q * lam) @ q.T
    return w, (c + c.T) / 2


def damp(c):
    return c + DAMPING * np.diag(c).mean() * np.eye(len(c))


def main(folder):
    rng = np.random.default_rng(20240607)
    tensors, cases = {}, {}
    shapes = {
        "square": dict(out=20, inp=20),
        "tall": dict(out=30, inp=14),
        "wide": dict(out=14, inp=30),
        "outlier": dict(out=20, inp=20, outlier=True),
        "outlier_wide": dict(out=12, inp=28, outlier=True),
        "deficient": dict(out=16, inp=20, rank=9),
    }
    for name, spec in shapes.items():
        w, c = layer(rng, **spec)
        m = w @ damp(c)
        u, s, _ = scipy.linalg.svd(m, full_matrices=False)
        tensors[f"{name}.w"], tensors[f"{name}.c"] = w, c
        for which, part in (("smallest", slice(-RANK, None)), ("largest", slice(0, RANK))):
            tensors[f"{name}.{which}.projector_w"] = u[:, part] @ (u[:, part].T @ w)  # s B0 A0
        cases[name] = {
            "smallest": s[-RANK:][::-1].tolist(),
            "largest": s[:RANK].tolist(),
            "pissa": scipy.linalg.svdvals(w)[:RANK].tolist(),
            "total": float(np.linalg.norm(m)),
        }
    _, know = layer(rng, 18, 18)
    _, task = layer(rng, 18, 18, outlier=True)
    values, vectors = scipy.linalg.eigh(task, damp(know))
    top = vectors[:, ::-1][:, :RANK]
    top = top / np.linalg.norm(top, axis=0) / np.sqrt(3)
    top = top * np.sign(top[np.abs(top).argmax(axis=0), np.arange(RANK)])
    tensors |= {"dual.know": know, "dual.task": task, "dual.a": np.ascontiguousarray(top.T)}
    cases["dual"] = {"values": values[::-1][:RANK].tolist(), "total": float(values.sum())}
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, folder / "cases.safetensors")
    digest = hashlib.sha256((folder / "cases.safetensors").read_bytes()).hexdigest()
    manifest = {
        "made_by": "scripts/golden/decompose.py",
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "sha256": {"cases.safetensors": digest},
        "rank": RANK,
        "damping": DAMPING,
        "cases": cases,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
