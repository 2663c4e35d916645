# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""Writes a wheel of torch's name and version that leads to the torch which is installed already, so that a test of installing what
depends on it need not download it. Arguments: the site-packages that hold torch, the folder for the wheel."""

import sys
import zipfile
from pathlib import Path

place, folder = Path(sys.argv[1]), Path(sys.argv[2])
version = next(place.glob("torch-*.dist-info")).name.removeprefix("torch-").removesuffix(".dist-info").split("+")[0]
info = f"torch-{version}.dist-info"
files = {"torch.pth": f"{place}\n",
         f"{info}/METADATA": f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n",
         f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: corda\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
with zipfile.ZipFile(folder / f"torch-{version}-py3-none-any.whl", "w") as wheel:
    for name, text in files.items():
        wheel.writestr(name, text)
