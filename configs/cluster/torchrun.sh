#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Several machines by torchrun. On every machine, with the same HEAD (the first one's name) and NODES:
#   NODES=2 HEAD=node1 GPUS=8 bash torchrun.sh train.yaml
# torchrun kills what still runs 30 s after a rank has died; before that the others save and say who it was.
set -euo pipefail
exec torchrun --nnodes "${NODES:-1}" --nproc-per-node "${GPUS:-1}" --rdzv-backend c10d \
  --rdzv-endpoint "${HEAD:-127.0.0.1}:${PORT:-29500}" --rdzv-id "${JOB:-corda}" \
  --no-python corda train --config "$1" "${@:2}"
