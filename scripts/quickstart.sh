#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds corda, and fine-tunes the small model of scripts/demo/model in several ways.
# Where dist/ has a wheel of this version (scripts/build_wheel.sh) that is installed, and no compiler is needed.
#
#   scripts/quickstart.sh [--corda PROGRAM] [--venv DIR]
#     --corda PROGRAM  use this program; nothing is installed or built
#     --venv DIR       a virtual environment that has LibTorch already (default: build/venv)
# Runs go to runs/demo.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/bootstrap.sh"

corda='' out=runs/demo
while [ $# -gt 0 ]; do
  case $1 in
    --corda) corda=$(readlink -f "${2:?--corda wants a program}"); shift 2 ;;
    --venv) CORDA_VENV=$(readlink -m "${2:?--venv wants a folder}"); shift 2 ;;
    -h | --help) sed -n '3,9s/^# \{0,1\}//p' "$0"; exit ;;
    *) echo "error: unknown option $1 (see $0 --help)" >&2; exit 2 ;;
  esac
done

wheel=''
if [ -z "$corda" ]; then
  version=$(sed -n 's/^project(corda VERSION \([0-9.]*\) .*/\1/p' "$CORDA_ROOT/CMakeLists.txt")
  wheel=$(ls -t "$CORDA_ROOT"/dist/corda-"$version"-*.whl 2>/dev/null | head -n 1 || true)
fi
if [ -z "$corda" ] && [ -n "$wheel" ]; then
  mkdir -p "$CORDA_ROOT/build"
  : >>"$CORDA_LOG"
  bootstrap_torch
  say "wheel: installing $wheel into $CORDA_VENV"
  pip_install "$CORDA_VENV" --no-deps --force-reinstall "$wheel" || die "could not install $wheel; see $CORDA_LOG"
  corda=$CORDA_VENV/bin/corda
elif [ -z "$corda" ]; then
  bootstrap_tools
  bootstrap_build cpu --target corda
  corda=$CORDA_ROOT/build/cpu/bin/corda
fi
[ -x "$corda" ] || die "$corda is not a program."

cd "$CORDA_ROOT"
model=scripts/demo/model
data=$out/data
rank=8
mkdir -p $out
log=$out/log.txt
: >"$log"

# Runs one command of the demo; what it prints goes to the log.
step() {
  local start=$SECONDS
  printf '  corda %s\n' "$*"
  printf '\n$ corda %s\n' "$*" >>"$log"
  "$corda" "$@" >>"$log" 2>&1 || { tail -n 20 "$log" >&2; die "that command failed; all output is in $log"; }
  took=$((SECONDS - start))
}

# evaluate NAME MODEL: knowledge and new task, one line of $out/results.txt
evaluate() {
  local knowledge task
  knowledge=$("$corda" eval --model "$2" --task qa --data $data/facts.jsonl --format qa --json 2>>"$log") ||
    die "corda eval --task qa failed on $2; see $log"
  task=$("$corda" eval --model "$2" --task perplexity --data $data/task_test.jsonl --format alpaca --json 2>>"$log") ||
    die "corda eval --task perplexity failed on $2; see $log"
  printf '%s\t%s\t%s\t%s\n' "$1" "${3:-0}" "$knowledge" "$task" >>$out/results.txt
}

begin=$SECONDS
say "demo: invented facts, a small model that knows them ($model), and a new task"
rm -rf $out/{covariance,adapter,lora,kpa,ipa,dual,merged,results.txt}
python3 scripts/demo/make_data.py --out $data >>"$log"
evaluate base "$model"

say "demo: what the layers see on the facts, and on the new task"
step calibrate --model $model --data $data/facts.jsonl --format qa --samples 64 --seq-len 128 --out $out/covariance/facts
step calibrate --model $model --data $data/task_train.jsonl --format alpaca --samples 64 --seq-len 128 --out $out/covariance/task

say "demo: three starts for an adapter"
step decompose --model $model --covariance $out/covariance/facts --mode kpa --rank $rank --out $out/adapter/kpa
step decompose --model $model --covariance $out/covariance/task --mode ipa --rank $rank --out $out/adapter/ipa
step decompose --model $model --covariance $out/covariance/facts --task-covariance $out/covariance/task --mode dual \
  --rank $rank --out $out/adapter/dual

say "demo: train, merge, check the merged model against base and adapter, evaluate"
for name in lora kpa ipa dual; do
  step train --config configs/demo/$name.yaml
  seconds=$took
  step merge --model $model --adapter $out/$name/adapter --out $out/merged/$name --verify
  evaluate "$name" $out/merged/$name "$seconds"
done

python3 - $out/results.txt <<'PYTHON'
import json, sys
names = {"base": "base model", "lora": "LoRA", "kpa": "CorDA KPA", "ipa": "CorDA IPA", "dual": "CorDA dual"}
print(f"\n{'':12} {'facts still known':>18} {'new-task loss':>14} {'training':>9}")
for line in open(sys.argv[1], encoding="utf-8"):
    name, seconds, knowledge, task = line.rstrip("\n").split("\t")
    took = "" if name == "base" else f"{seconds} s"
    print(f"{names[name]:12} {json.loads(knowledge)['score']:16.1f} % {json.loads(task)['nll']:14.3f} {took:>9}")
PYTHON
cat <<TEXT

LoRA, KPA and IPA made the same steps at the same rate. KPA is to forget less than LoRA at a like loss, IPA to learn
fastest, and dual (only B is trained, so at a larger rate, with decay) to do both.
The runs are in $out (log.txt has every command's output), the settings in configs/demo/.
The demo took $((SECONDS - begin)) s.
TEXT
