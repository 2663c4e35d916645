#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes a wheel of the program, its small libraries and configs; pip installs it beside the torch that it was built with.
#
#   scripts/build_wheel.sh [--preset NAME] [--packages] [FOLDER]
#     --preset NAME   the build to take, build/NAME (default: cpu)
#     --packages      a .tar.gz and a .deb too (CPack); they run with the torch of the python3 on PATH
#     FOLDER          where they go (default: dist)
#
#   pip install dist/corda-*.whl        # or pipx install; then: corda --version
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/bootstrap.sh"

preset=cpu packages=0 folder=$CORDA_ROOT/dist
while [ $# -gt 0 ]; do
  case $1 in
    --preset) preset=${2:?--preset wants a name}; shift 2 ;;
    --packages) packages=1; shift ;;
    -h | --help) sed -n '3,12s/^# \{0,1\}//p' "$0"; exit ;;
    -*) echo "error: unknown option $1 (see $0 --help)" >&2; exit 2 ;;
    *) folder=$1; shift ;;
  esac
done
build=$CORDA_ROOT/build/$preset
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# In site-packages the program is corda/bin/corda, and torch and nvidia are beside corda.
# shellcheck disable=SC2016
"$CORDA_ROOT/scripts/bundle.sh" --preset "$preset" --program-only --torch-dir '$ORIGIN/../../torch/lib' "$work/bundle"
corda=$build/bin/corda
version=$("$corda" --version | cut -d' ' -f2)
share=$work/bundle/share
mkdir -p "$share/man/man1" "$share/bash-completion/completions" "$share/zsh/site-functions" "$share/fish/vendor_completions.d" "$share/corda"
"$corda" man >"$share/man/man1/corda.1"
"$corda" completion bash >"$share/bash-completion/completions/corda"
"$corda" completion zsh >"$share/zsh/site-functions/_corda"
"$corda" completion fish >"$share/fish/vendor_completions.d/corda.fish"
cp -r "$CORDA_ROOT/configs" "$share/corda/configs"
cp "$CORDA_ROOT/LICENSE" "$share/corda/" 2>/dev/null || true

# The newest glibc symbol that anything in it needs: what the machine must have.
glibc=$({ find "$work/bundle/bin" "$work/bundle/lib" -type f -print0 | xargs -0 -n 1 readelf -V 2>/dev/null || true; } |
  grep -oE 'GLIBC_2\.[0-9]+' | sort -t. -k2 -n -u | tail -n 1)
glibc=${glibc#GLIBC_2.}
[ -n "$glibc" ] || die "no glibc version was found in $work/bundle."

if [ "$packages" = 1 ]; then
  # Debian's way: all of it in a folder of its own, and links where users look.
  stage=$work/stage
  mkdir -p "$stage/usr/lib/corda" "$stage/usr/bin"
  cp -r "$work/bundle/bin" "$work/bundle/lib" "$stage/usr/lib/corda/"
  cp -r "$share" "$stage/usr/share"
  gzip -n -9 "$stage/usr/share/man/man1/corda.1"
  ln -s ../lib/corda/bin/corda-with-torch "$stage/usr/bin/corda"
  cat >"$work/CPackConfig.cmake" <<CPACK
set(CPACK_PACKAGE_NAME corda)
set(CPACK_PACKAGE_VERSION "$version")
set(CPACK_PACKAGE_VENDOR "The corda authors")
set(CPACK_PACKAGE_CONTACT "The corda authors <corda@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Fine-tune a language model and keep what it knows (CorDA)")
set(CPACK_PACKAGE_DESCRIPTION "Context-oriented decomposition adaptation of Hugging Face language models; runs with the torch of the python3 on PATH.")
set(CPACK_TOPLEVEL_TAG Linux)
set(CPACK_SYSTEM_NAME Linux)
set(CPACK_PACKAGE_FILE_NAME "corda-$version-linux-$(uname -m)")
set(CPACK_INSTALLED_DIRECTORIES "$stage;/")
set(CPACK_PACKAGING_INSTALL_PREFIX "/")
set(CPACK_INCLUDE_TOPLEVEL_DIRECTORY OFF)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libc6 (>= 2.$glibc), libstdc++6, libgomp1, python3")
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE "$(dpkg --print-architecture 2>/dev/null || echo amd64)")
CPACK
  cpack=$(dirname "$(sed -n 's/^CMAKE_COMMAND:[A-Z]*=//p' "$build/CMakeCache.txt")")/cpack
  for generator in TGZ DEB; do
    logged "$cpack" -G "$generator" --config "$work/CPackConfig.cmake" -B "$work/cpack" || die "cpack -G $generator failed; see $CORDA_LOG"
  done
  mv "$work"/cpack/corda-*.tar.gz "$work"/cpack/corda-*.deb "$folder/"
fi

python3 - "$work/bundle" "$folder" "$version" "$glibc" "${TORCH_PIN##*==}" "$CORDA_ROOT" <<'PYTHON'
import base64, hashlib, os, platform, sys, zipfile
bundle, folder, version, glibc, torch, root = sys.argv[1:]
tag = f"py3-none-manylinux_2_{glibc}_{platform.machine()}"
info, data = f"corda-{version}.dist-info", f"corda-{version}.data/data"
LAUNCHER = f'''# SPDX-License-Identifier: Apache-2.0
"""Starts the program beside this file with the torch of this Python."""
import importlib.metadata
import importlib.util
import os
import sys

TORCH = "{torch}"


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"corda: error: this Python has no torch; install it with: pip install torch=={{TORCH}}")
    found = importlib.metadata.version("torch").split("+")[0]
    if found != TORCH:
        sys.exit(f"corda: error: corda was built with torch {{TORCH}} and this Python has {{found}}; install it with: pip install torch=={{TORCH}}")
    packages = os.path.dirname(spec.submodule_search_locations[0])
    environment = dict(os.environ)
    if os.path.realpath(packages) != os.path.realpath(os.path.dirname(here)):  # else the program's own run path finds them
        folders = [os.path.join(packages, "torch", "lib"), os.path.join(packages, "nvidia", "cu13", "lib")]
        if environment.get("LD_LIBRARY_PATH"):
            folders.append(environment["LD_LIBRARY_PATH"])
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(folders)
    program = os.path.join(here, "bin", "corda")
    os.execve(program, [program, *sys.argv[1:]], environment)


if __name__ == "__main__":
    main()
'''
files = {"corda/__init__.py": f'__version__ = "{version}"\n'.encode(), "corda/__main__.py": LAUNCHER.encode()}
modes = {}
for top, target in (("bin/corda", "corda/bin/corda"), ("lib", "corda/lib"), ("share", f"{data}/share")):
    path = os.path.join(bundle, top)
    names = [os.path.join(d, n) for d, _, ns in os.walk(path) for n in ns] if os.path.isdir(path) else [path]
    for name in sorted(names):
        inner = target if name == path else f"{target}/{os.path.relpath(name, path)}"
        files[inner] = open(name, "rb").read()
        modes[inner] = 0o755 if os.access(name, os.X_OK) else 0o644
readme = open(os.path.join(root, "README.md")).read()
files[f"{info}/METADATA"] = (f"Metadata-Version: 2.1\nName: corda\nVersion: {version}\nSummary: Fine-tune a language model and keep what it knows (CorDA)\n"
                             f"License: Apache-2.0\nRequires-Python: >=3.8\nRequires-Dist: torch=={torch}\nDescription-Content-Type: text/markdown\n\n{readme}").encode()
files[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: corda build_wheel.sh\nRoot-Is-Purelib: false\nTag: {tag}\n".encode()
files[f"{info}/entry_points.txt"] = b"[console_scripts]\ncorda = corda.__main__:main\n"
files[f"{info}/top_level.txt"] = b"corda\n"
record = f"{info}/RECORD"
digest = lambda content: base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
files[record] = "".join([f"{name},sha256={digest(content)},{len(content)}\n" for name, content in files.items()] + [f"{record},,\n"]).encode()
path = os.path.join(folder, f"corda-{version}-{tag}.whl")
with zipfile.ZipFile(path + ".part", "w", zipfile.ZIP_DEFLATED) as wheel:
    for name, content in files.items():
        entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))  # the same files give the same bytes
        entry.external_attr = (0o100000 | modes.get(name, 0o644)) << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        wheel.writestr(entry, content)
os.replace(path + ".part", path)
print(path)
PYTHON
