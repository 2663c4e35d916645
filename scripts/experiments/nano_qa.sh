#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What is kept and what is learned on nano-qa-11m, for every method: calibrate, decompose, train, evaluate, table, plot.
#
#   scripts/experiments/nano_qa.sh [option ...]
#     --corda PROGRAM    default: build/cpu/bin/corda
#     --shared DIR       folder with data/models/nano-qa-11m and data/datasets (default: $CORDA_SHARED or ../shared)
#     --work DIR         default: runs/nano-qa; where it holds model/ and data/ already, --shared is not needed
#     --device NAME      auto, cpu, cuda, cuda:N (default: auto); with cpu the runs are in fp32, else in bf16
#     --jobs N           runs at a time (default: 1)
#     --seeds LIST       default: 0,1,2
#     --only PATTERN     only runs whose name matches, such as 'dual*' or 'lora-4e-4-*'
#     --limit SECONDS    start no further run after so many seconds
#     --prepare          only write the data, with a copy of the model, so that --work can be carried elsewhere
# Finished runs are skipped, so the command can be repeated. Results: results.jsonl, table.md and plot.svg in --work.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$root/scripts/experiments
shared=${CORDA_SHARED:-$root/../shared} work=$root/runs/nano-qa corda=$root/build/cpu/bin/corda prepare=0 rest=()
while [ $# -gt 0 ]; do
  case $1 in
    --corda) corda=$(readlink -f "${2:?--corda wants a program}"); shift 2 ;;
    --shared) shared=${2:?--shared wants a folder}; shift 2 ;;
    --work) work=$(readlink -m "${2:?--work wants a folder}"); shift 2 ;;
    --device | --jobs | --seeds | --only | --limit) rest+=("$1" "${2:?$1 wants a value}"); shift 2 ;;
    --prepare) prepare=1; shift ;;
    -h | --help) sed -n '3,16s/^# \{0,1\}//p' "$0"; exit ;;
    *) echo "error: unknown option $1 (see $0 --help)" >&2; exit 2 ;;
  esac
done

mkdir -p "$work"
if [ ! -f "$work/data/gsm8k_test.jsonl" ]; then
  python3 "$here/prepare_nano_qa.py" --shared "$shared" --out "$work/data"
fi
if [ ! -f "$work/model/config.json" ]; then
  [ -f "$shared/data/models/nano-qa-11m/config.json" ] || { echo "error: there is no $shared/data/models/nano-qa-11m" >&2; exit 3; }
  rm -rf "$work/model"
  cp -rL "$shared/data/models/nano-qa-11m" "$work/model"
  chmod -R u+w "$work/model"
  # The model has learnt every text behind BOS; its tokenizer.json does not say so.
  python3 - "$work/model/tokenizer.json" <<'PYTHON'
import json, sys
path, bos = sys.argv[1], "<|endoftext|>"
with open(path, encoding="utf-8") as file:
    tokenizer = json.load(file)
first = next(token["id"] for token in tokenizer["added_tokens"] if token["content"] == bos)
tokenizer["post_processor"]["single"].insert(0, {"SpecialToken": {"id": bos, "type_id": 0}})
tokenizer["post_processor"]["special_tokens"] = {bos: {"id": bos, "ids": [first], "tokens": [bos]}}
with open(path, "w", encoding="utf-8") as file:
    json.dump(tokenizer, file, ensure_ascii=False)
PYTHON
fi
[ "$prepare" = 0 ] || exit 0
[ -x "$corda" ] || { echo "error: $corda is not a program; run scripts/bootstrap.sh, or name one with --corda" >&2; exit 2; }
status=0
python3 "$here/nano_qa.py" --corda "$corda" --work "$work" --configs "$root/configs/nano-qa" "${rest[@]}" || status=$?
python3 "$here/plot.py" "$work/results.jsonl" --reference "$here/nano_qa_peft.jsonl" --table "$work/table.md" --svg "$work/plot.svg"
cat "$work/table.md"
exit $status
