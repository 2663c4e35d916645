#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes the demo's base model again, scripts/demo/model: invented facts, a tokenizer, random weights, training.
#
#   scripts/demo/make_base.sh [PROGRAM]     (default: build/cpu/bin/corda, as scripts/quickstart.sh builds it)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
corda=${1:-build/cpu/bin/corda}
[ -x "$corda" ] || { echo "error: $corda is not a program; run scripts/bootstrap.sh, or name one" >&2; exit 1; }

work=runs/demo-base
rm -rf $work
python3 scripts/demo/make_data.py --out $work/data
python3 scripts/demo/train_tokenizer.py --data $work/data --out $work/start
python3 scripts/demo/init_model.py $work/start
"$corda" train --config configs/demo/base.yaml
"$corda" eval --model $work/run/model --task qa --data $work/data/facts.jsonl --format qa
rm -rf scripts/demo/model.old
[ ! -e scripts/demo/model ] || mv scripts/demo/model scripts/demo/model.old
cp -r $work/run/model scripts/demo/model
rm -rf scripts/demo/model.old
du -sh scripts/demo/model
