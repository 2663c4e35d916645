#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All GPUs of this machine, without a launcher: bash one-machine.sh train.yaml
set -euo pipefail
gpus=$(nvidia-smi -L | wc -l)
exec corda train --config "$1" --gpus "$gpus" "${@:2}"
