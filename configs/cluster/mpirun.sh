#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Open MPI: bash mpirun.sh 8 train.yaml on one machine. On several: HOSTS=node1:8,node2:8 bash mpirun.sh 16 train.yaml
set -euo pipefail
if [ -z "${HOSTS:-}" ]; then
  exec mpirun -n "$1" corda train --config "$2" "${@:3}"
fi
first=${HOSTS%%[:,]*}
exec mpirun -n "$1" --host "$HOSTS" -x MASTER_ADDR="$first" -x MASTER_PORT="${PORT:-29500}" corda train --config "$2" "${@:3}"
