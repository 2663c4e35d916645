#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs every test that needs a GPU, from a build or a bundle, and prints a verdict last.
#
#   scripts/gpu_suite.sh [FOLDER]
#     FOLDER  holds bin/*_gpu_test: build/cpu (the default), build/ci, or what scripts/bundle.sh --gpu-tests made
set -uo pipefail

case ${1:-} in
  -h | --help) sed -n '3,6s/^# \{0,1\}//p' "$0"; exit ;;
esac
folder=${1:-$(dirname "${BASH_SOURCE[0]}")/../build/cpu}
tests=("$folder"/bin/*_gpu_test)
[ -x "${tests[0]}" ] || { echo "error: $folder/bin holds no *_gpu_test; build with -DCORDA_TESTS=ON" >&2; exit 2; }

# A bundle finds torch through the python3 on PATH, as its launcher does.
if [ -x "$folder/bin/corda-with-torch" ]; then
  torch=$(python3 -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])' 2>/dev/null) || torch=''
  [ -z "$torch" ] || export LD_LIBRARY_PATH=$torch/lib:${torch%/torch}/nvidia/cu13/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi

passed=0 failed=0 skipped=0
for test in "${tests[@]}"; do
  start=$SECONDS
  log=$("$test" --gtest_brief=1 2>&1)
  status=$?
  count() { grep -oE "$1" <<<"$log" | grep -oE '[0-9]+' | tail -n 1; }
  p=$(count 'PASSED +\] [0-9]+') s=$(count 'SKIPPED +\] [0-9]+ test') f=$(count '[0-9]+ FAILED TEST')
  [ "$status" = 0 ] || [ -n "$f" ] || f=1  # it died
  [ -z "$f" ] || printf '%s\n' "$log" | tail -n 60
  passed=$((passed + ${p:-0})) failed=$((failed + ${f:-0})) skipped=$((skipped + ${s:-0}))
  printf '%-24s %5s passed %4s failed %4s skipped %5s s\n' "$(basename "$test")" "${p:-0}" "${f:-0}" "${s:-0}" $((SECONDS - start))
done
if [ "$failed" -gt 0 ]; then
  verdict=FAILED
elif [ "$passed" = 0 ]; then
  verdict='NOTHING RAN (no usable GPU?)'
else
  verdict=PASSED
fi
echo "GPU suite: $verdict, $passed passed, $failed failed, $skipped skipped"
[ "$verdict" = PASSED ]
