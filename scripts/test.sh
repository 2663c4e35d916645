#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds corda and runs its tests.
#
#   scripts/test.sh [--label NAME] [--preset NAME] [--format] [--sanitized] [--no-interop] [--venv DIR]
#     --label NAME   only the tests with this ctest label (unit, cli, gpu, slow)
#     --preset NAME  the CMake preset to build (default: ci)
#     --format       first ask clang-format whether it would change a source file, and fail if so
#     --sanitized    also build core, tokenizer, jinja, data and io with the address and undefined-behaviour sanitizers, and run their tests
#     --no-interop   do not install transformers and PEFT; the tests against them are skipped
#     --venv DIR     a virtual environment that has LibTorch already (default: build/venv)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/bootstrap.sh"

INTEROP_PINS=('transformers==5.17.0' 'peft==0.21.0' 'safetensors==0.8.0' 'sentencepiece==0.2.3' 'protobuf==7.36.2' 'tensorboard==2.21.0' 'gguf==0.19.0')

CLANG_FORMAT_PIN='clang-format==14.0.6'
SANITIZED_TESTS=(core_test tokenizer_test jinja_test data_test safetensors_test covariance_store_test)

label='' preset=ci interop=1 format=0 sanitized=0
targets=()
while [ $# -gt 0 ]; do
  case $1 in
    --label) label=${2:?--label wants a name}; shift 2 ;;
    --preset) preset=${2:?--preset wants a name}; shift 2 ;;
    --venv) CORDA_VENV=$(readlink -m "${2:?--venv wants a folder}"); shift 2 ;;
    --format) format=1; shift ;;
    --sanitized) sanitized=1; shift ;;
    --no-interop) interop=0; shift ;;
    -h | --help) sed -n '3,11s/^# \{0,1\}//p' "$0"; exit ;;
    *) echo "error: unknown option $1 (see $0 --help)" >&2; exit 2 ;;
  esac
done

# Python with transformers and PEFT beside the torch of CORDA_VENV. Prints nothing where it cannot be had.
interop_python() {
  local venv=$CORDA_ROOT/build/venv-golden pin missing=()
  if [ ! -x "$venv/bin/python" ]; then
    logged "$CORDA_VENV/bin/python" -m venv "$venv" || return 1
    # One copy of torch is enough: this environment looks into the other one after itself.
    "$CORDA_VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["platlib"])' \
      >"$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/torch.pth"
  fi
  for pin in "${INTEROP_PINS[@]}"; do
    venv_has "$venv" "$pin" || missing+=("$pin")
  done
  if [ ${#missing[@]} -eq 0 ]; then
    say "interop tests: ${INTEROP_PINS[*]} are in $venv, skipped"
  else
    say "interop tests: installing ${missing[*]}"
    pip_install "$venv" "${INTEROP_PINS[@]}" || return 1
  fi
  "$venv/bin/python" -c 'import torch, transformers, peft, safetensors' 2>>"$CORDA_LOG" || return 1
  INTEROP_PYTHON=$venv/bin/python
}

# Lists the files that clang-format would change; another version of it would change others.
check_format() {
  local program='' candidate files changed
  for candidate in clang-format-14 clang-format "$CORDA_VENV/bin/clang-format"; do
    candidate=$(command -v "$candidate") || continue
    case $("$candidate" --version) in *' version 14.'*) program=$candidate; break ;; esac
  done
  if [ -z "$program" ]; then
    say "clang-format: installing $CLANG_FORMAT_PIN into $CORDA_VENV"
    pip_install "$CORDA_VENV" "$CLANG_FORMAT_PIN" || die "could not install $CLANG_FORMAT_PIN from PyPI (no network?); see $CORDA_LOG"
    program=$CORDA_VENV/bin/clang-format
  fi
  cd "$CORDA_ROOT"
  mapfile -d '' files < <(find src include tools tests \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) -print0 | sort -z)
  [ ${#files[@]} -ge 100 ] || die "only ${#files[@]} source files were found in $CORDA_ROOT."
  changed=$(for file in "${files[@]}"; do "$program" "$file" | cmp -s - "$file" || echo "$file"; done)
  [ -z "$changed" ] || die "clang-format 14 would change these files; run $program -i on them:"$'\n'"$changed"
  say "format: ${#files[@]} files are as $program writes them"
}

# run_tests PRESET [ctest argument ...]: the results are in build/PRESET/ctest.xml.
run_tests() {
  local results=$CORDA_ROOT/build/$1/ctest.xml preset=$1 status=0
  shift
  rm -f "$results"
  "$CTEST" --test-dir "$CORDA_ROOT/build/$preset" --parallel "$(nproc)" --output-on-failure --no-tests=error \
    --output-junit "$results" "$@" || status=$?
  [ -f "$results" ] || die "ctest wrote no results."
  ALL_RESULTS+=("$results")
  return $status
}

bootstrap_tools
[ "$format" = 0 ] || (check_format)
CTEST=$(dirname "$(readlink -f "$CMAKE")")/ctest
[ -x "$CTEST" ] || CTEST=$(dirname "$CMAKE")/ctest
ALL_RESULTS=()
status=0
INTEROP_PYTHON=''
if [ "$interop" = 1 ]; then
  interop_python || say "interop tests: SKIPPED, ${INTEROP_PINS[*]} could not be installed (see $CORDA_LOG)"
else
  say "interop tests: skipped as asked"
fi
if [ "$sanitized" = 1 ]; then
  for test in "${SANITIZED_TESTS[@]}"; do targets+=(--target "$test"); done
  bootstrap_build asan "${targets[@]}" "-DCORDA_TESTS=ON"
  run_tests asan --tests-regex "^($(IFS='|'; echo "${SANITIZED_TESTS[*]}"))\$" || status=$?
fi
bootstrap_build "$preset" "-DCORDA_TESTS=ON" "-DCORDA_PYTHON=$INTEROP_PYTHON"
run_tests "$preset" ${label:+--label-regex "^$label\$"} || status=$?

"$CORDA_VENV/bin/python" - "${ALL_RESULTS[@]}" <<'PYTHON'
import sys, xml.etree.ElementTree as tree
suites = [tree.parse(path).getroot() for path in sys.argv[1:]]
total, failed, skipped, disabled = (sum(int(suite.get(k, 0)) for suite in suites) for k in ("tests", "failures", "skipped", "disabled"))
skipped += disabled
print(f"tests: {total - failed - skipped} passed, {failed} failed, {skipped} skipped")
PYTHON
exit $status
