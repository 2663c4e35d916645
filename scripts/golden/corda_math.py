# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""tests/golden/corda: the decompositions in fp64 by NumPy and SciPy, on layers small enough that the
plain formulas are exact: damped covariance, spectrum of W C~, energies of KPA and IPA, dual."""

import numpy as np
import scipy.linalg
import torch

import golden
from golden import write_json, write_manifest, write_tensors

SEED = 20243
RANK = 8
DAMPING = 0.01
SHAPES = {"square": (48, 48), "tall": (96, 40), "wide": (40, 96)}  # [out, in]
SAMPLES = 0.75  # tokens per input feature, so that C has no full rank
# How much longer the inputs are along one direction. At 1e4 the damping covers all the others, at 1e2
# they stand out from it.
OUTLIERS = {"outlier1e4": 1e4, "outlier1e2": 1e2}


def covariance(rng, size, outlier):
    """sum x x^T, rounded to fp32 as covariance files are; everything below starts from these values."""
    x = rng.standard_normal((int(SAMPLES * size), size)) * np.exp(0.7 * rng.standard_normal(size))
    if outlier:
        direction = rng.standard_normal(size)
        direction /= np.linalg.norm(direction)
        x += (outlier - 1) * np.outer(x @ direction, direction)
    return (x.T @ x).astype(np.float32).astype(np.float64)


def damped(c):
    return c + DAMPING * np.mean(np.diag(c)) * np.eye(len(c))


def tensor(a, dtype=torch.float32):
    return torch.from_numpy(np.ascontiguousarray(a)).to(dtype)


def energy(left, m):
    """||U^T M||_F."""
    return float(np.linalg.norm(left.T @ m))


def spectrum(w, c):
    """Of M = W C~, with the identities that corda relies on asserted on the way."""
    m = w @ damped(c)
    u, s, vt = np.linalg.svd(m, full_matrices=False)
    smallest, largest = u[:, -RANK:], u[:, :RANK]
    for left in (smallest, largest):  # U_r S_r (V_r^T C~^-1) = U_r U_r^T W: no inverse is needed
        rows = (left.T @ m) @ np.linalg.inv(damped(c))
        np.testing.assert_allclose(left @ rows, left @ (left.T @ w), atol=1e-9 * np.abs(w).max())
    np.testing.assert_allclose(energy(smallest, m), np.linalg.norm(s[-RANK:]), rtol=1e-8)
    return {
        "mean_diagonal": float(np.mean(np.diag(c))),
        "damped_trace": float(np.trace(damped(c))),
        "singular_values": s.tolist(),
        "total_energy": float(np.linalg.norm(m)),
        "kpa_energy": float(np.linalg.norm(s[-RANK:])),
        "ipa_energy": float(np.linalg.norm(s[:RANK])),
        "kpa_gap": float(s[-RANK - 1] / s[-RANK]),
        "ipa_gap": float(s[RANK - 1] / s[RANK]),
    }


def dual(task, know):
    """Top generalised eigenpairs of task against damped know; rows of A have norm 1 / sqrt(3)."""
    values, vectors = scipy.linalg.eigh(task, damped(know))
    values, vectors = values[::-1], vectors[:, ::-1]
    rows = vectors[:, :RANK].T
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True) / np.sqrt(3)
    rows *= np.sign(rows[np.arange(RANK), np.abs(rows).argmax(axis=1)])[:, None]
    left = task @ rows.T - damped(know) @ rows.T * values[:RANK]
    assert np.abs(left).max() < 1e-9 * np.abs(damped(know)).max()
    numbers = {
        "eigenvalues": values.tolist(),
        "energy": float(values[:RANK].sum()),
        "total_energy": float(np.trace(scipy.linalg.solve(damped(know), task, assume_a="pos"))),
        "smallest_gap": float((values[:RANK] / values[1:RANK + 1]).min()),
    }
    np.testing.assert_allclose(values.sum(), numbers["total_energy"], rtol=1e-8)
    return numbers, rows


def main():
    folder = golden.start("corda", SEED)
    rng = np.random.default_rng(SEED)
    inputs, a_dual = {}, {}
    expected = {"rank": RANK, "damping": DAMPING, "cases": {}}
    for shape, (out, size) in SHAPES.items():
        w = (0.1 * rng.standard_normal((out, size))).astype(np.float32).astype(np.float64)
        task = covariance(rng, size, None)
        inputs[f"{shape}.weight"] = tensor(w)
        inputs[f"{shape}.task"] = tensor(task)
        for label, outlier in OUTLIERS.items():
            name = f"{shape}.{label}"
            know = covariance(rng, size, outlier)
            inputs[f"{name}.covariance"] = tensor(know)
            numbers, rows = dual(task, know)
            a_dual[f"{name}.damped_diagonal"] = tensor(np.diag(damped(know)), torch.float64)
            a_dual[f"{name}.dual_a"] = tensor(rows, torch.float64)
            expected["cases"][name] = {"out": out, "in": size, **spectrum(w, know), "dual": numbers}
    write_tensors(folder / "inputs.safetensors", inputs)
    write_tensors(folder / "expected.safetensors", a_dual)
    write_json(folder / "expected.json", expected)
    write_manifest(folder, "corda_math.py", SEED)


if __name__ == "__main__":
    main()
