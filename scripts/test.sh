#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds corda and runs its tests.
#
#   scripts/test.sh [--label NAME] [--preset NAME] [--no-interop] [--venv DIR]
#     --label NAME   only the tests with this ctest label (unit, cli, gpu, slow)
#     --preset NAME  the CMake preset to build (default: ci)
#     --no-interop   do not install transformers and PEFT; the tests against them are skipped
#     --venv DIR     a virtual environment that has LibTorch already (default: build/venv)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/bootstrap.sh"

INTEROP_PINS=('transformers==5.17.0' 'peft==0.21.0' 'safetensors==0.8.0' 'sentencepiece==0.2.3' 'protobuf==7.36.2')

label='' preset=ci interop=1
while [ $# -gt 0 ]; do
  case $1 in
    --label) label=${2:?--label wants a name}; shift 2 ;;
    --preset) preset=${2:?--preset wants a name}; shift 2 ;;
    --venv) CORDA_VENV=$(readlink -m "${2:?--venv wants a folder}"); shift 2 ;;
    --no-interop) interop=0; shift ;;
    -h | --help) sed -n '3,9s/^# \{0,1\}//p' "$0"; exit ;;
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

bootstrap_tools
INTEROP_PYTHON=''
if [ "$interop" = 1 ]; then
  interop_python || say "interop tests: SKIPPED, ${INTEROP_PINS[*]} could not be installed (see $CORDA_LOG)"
else
  say "interop tests: skipped as asked"
fi
bootstrap_build "$preset" "-DCORDA_TESTS=ON" "-DCORDA_PYTHON=$INTEROP_PYTHON"

results=$CORDA_ROOT/build/$preset/ctest.xml
ctest=$(dirname "$(readlink -f "$CMAKE")")/ctest
[ -x "$ctest" ] || ctest=$(dirname "$CMAKE")/ctest
rm -f "$results"
status=0
"$ctest" --test-dir "$CORDA_ROOT/build/$preset" --output-on-failure --no-tests=error --output-junit "$results" \
  ${label:+--label-regex "^$label\$"} || status=$?

[ -f "$results" ] || die "ctest wrote no results."
"$CORDA_VENV/bin/python" - "$results" <<'PYTHON'
import sys, xml.etree.ElementTree as tree
suite = tree.parse(sys.argv[1]).getroot()
total, failed, skipped = (int(suite.get(k, 0)) for k in ("tests", "failures", "skipped"))
skipped += int(suite.get("disabled", 0))
print(f"tests: {total - failed - skipped} passed, {failed} failed, {skipped} skipped")
PYTHON
exit $status
