#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes the wheel, installs it into a fresh virtual environment, by pip and by pipx, and trains with it in an empty environment.
# Arguments: SOURCE (of corda), BUILD (its build folder, SOURCE/build/NAME), WORK (scratch folder).
set -euo pipefail
source=$1 build=$2 work=$3
fail() { echo "failed: $*" >&2; exit 1; }

[ "$build" = "$source/build/$(basename "$build")" ] || { echo "SKIPPED: $build is no build/NAME of $source"; exit 0; }
torch=$(dirname "$(dirname "$(dirname "$(ldd "$build/bin/corda" | awk '$1 == "libc10.so" {print $3}')")")")
[ -d "$torch/torch-"*.dist-info ] || { echo "SKIPPED: the build's torch is no wheel"; exit 0; }
rm -rf "$work"
mkdir -p "$work"
wheel=$("$source/scripts/build_wheel.sh" --preset "$(basename "$build")" --packages "$work/dist")
case $(basename "$wheel") in
  corda-*-py3-none-manylinux_2_[0-9]*_*.whl) ;;
  *) fail "the wheel is called $wheel" ;;
esac

# 4.6 GB of torch are not installed again: a .pth file shows them to the new environment.
python3 -m venv "$work/venv"
packages=$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
echo "$torch" >"$packages/torch.pth"
"$work/venv/bin/pip" install --quiet --no-index --no-deps --disable-pip-version-check "$wheel"
corda=(env -i PATH=/usr/bin:/bin HOME="$work" OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES= "$work/venv/bin/corda")
[[ $("${corda[@]}" --version) =~ ^corda\ [0-9]+[.][0-9]+ ]] || fail "no version"
for file in share/man/man1/corda.1 share/bash-completion/completions/corda share/corda/configs/lora.yaml; do
  [ -s "$work/venv/$file" ] || fail "the wheel brought no $file"
done

# A training, and a Parquet file where the build reads them.
for i in 1 2 3 4; do printf '{"instruction": "Add one to %d", "output": "%d"}\n' $i $((i + 1)); done >"$work/task.jsonl"
"${corda[@]}" train --set model="$source/scripts/demo/model" --set method=lora --set lora.rank=2 --set data.train="$work/task.jsonl" \
  --set optim.batch_size=2 --out "$work/run" --quiet >"$work/out.txt"
grep -q '2 steps' "$work/out.txt" || fail "the training printed: $(cat "$work/out.txt")"
"${corda[@]}" merge --model "$source/scripts/demo/model" --adapter "$work/run/adapter" --out "$work/merged" --quiet >"$work/out.txt"
if ldd "$build/bin/corda" | grep -q libparquet; then
  "${corda[@]}" preview --model "$source/scripts/demo/model" --data "$source/tests/golden/tables/pandas.parquet" --skip-bad --json --quiet |
    grep -q '"samples"' || fail "no preview of a Parquet file"
fi

# Where torch lies in the same site-packages the program finds it by its own run path.
mkdir -p "$work/packages"
cp -r "$packages/corda" "$work/packages/corda"
ln -s "$torch/torch" "$torch/nvidia" "$work/packages/"
env -i "$work/packages/corda/bin/corda" --version >/dev/null || fail "the run path does not lead to torch"

# Without torch, or with another one, it says so.
rm "$packages/torch.pth"
"${corda[@]}" --version >"$work/out.txt" 2>&1 && fail "it ran without torch"
grep -q 'this Python has no torch; install it with: pip install torch==' "$work/out.txt" || fail "it said: $(cat "$work/out.txt")"

# pipx makes an environment of its own, with what the wheel asks for: the torch it was built with, which a stand-in leads to. pipx
# itself and the pip that it shares come from PyPI.
if python3 -m venv "$work/tools" && "$work/tools/bin/pip" install --quiet --disable-pip-version-check pipx 2>"$work/out.txt" &&
  mkdir "$work/links" && "$work/tools/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$work/links" pip 2>"$work/out.txt"; then
  python3 "$source/tests/install/stand_in_for_torch.py" "$torch" "$work/links"
  pipx=(env HOME="$work/home" PIPX_HOME="$work/pipx" PIPX_BIN_DIR="$work/home/bin" PIPX_MAN_DIR="$work/home/man" "$work/tools/bin/pipx")
  "${pipx[@]}" install --pip-args="--no-index --find-links $work/links" "$wheel" >"$work/out.txt" 2>&1 || fail "pipx: $(cat "$work/out.txt")"
  [[ $(env -i PATH=/usr/bin:/bin HOME="$work" CUDA_VISIBLE_DEVICES= "$work/home/bin/corda" --version) =~ ^corda\ [0-9]+[.][0-9]+ ]] || fail "pipx: no version"
  [ -e "$work/home/man/man1/corda.1" ] || fail "pipx shows no manual page"
  "${pipx[@]}" uninstall corda >/dev/null 2>&1
  [ ! -e "$work/home/bin/corda" ] || fail "pipx left the program behind"
else
  echo "pipx is not tested, PyPI does not answer: $(tail -n 1 "$work/out.txt")"
fi

# The packages of the system: the program, its manual page and a link on the PATH.
ls "$work"/dist/corda-*.tar.gz >/dev/null || fail "no .tar.gz"
listing=$(dpkg-deb -c "$work"/dist/corda-*.deb 2>/dev/null || tar -tzf "$work"/dist/corda-*.tar.gz)
for file in usr/bin/corda usr/lib/corda/bin/corda usr/share/man/man1/corda.1.gz usr/share/bash-completion/completions/corda; do
  grep -q "$file" <<<"$listing" || fail "the package has no $file"
done
rm -rf "$work"
