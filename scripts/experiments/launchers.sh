#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains a small model by every launcher that this machine has, with the job files of configs/cluster as they are, and compares the losses
# with those of one process.
#
#   scripts/experiments/launchers.sh CORDA FOLDER
#
# torchrun is looked for on PATH; `apt-get install openmpi-bin slurm-wlm munge` brings the others. Slurm is set up here with one node, as root,
# in FOLDER, and ended again.
set -euo pipefail
program=$(readlink -f "${1:?name the program corda}")
folder=${2:?name a folder for runs}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
mkdir -p "$folder" && cd "$folder"
mkdir -p bin && ln -sf "$program" bin/corda
export PATH=$PWD/bin:$PATH CUDA_VISIBLE_DEVICES='' OMP_NUM_THREADS=1

for i in $(seq 37); do echo "{\"instruction\": \"Add one to $i\", \"output\": \"$((i + 1))\"}"; done >task.jsonl
cat >train.yaml <<EOF
model: $here/scripts/demo/model
data: {train: [task.jsonl], max_length: 200}
optim: {lr: 1.0e-3, batch_size: 8, micro_batch_tokens: 256, epochs: 4}
method: lora
lora: {rank: 4}
precision: fp32
device: cpu
threads: 1
out: one
EOF

verdict() { # NAME: compares NAME/metrics.jsonl with one/metrics.jsonl
  python3 - "$1" <<'EOF'
import json, sys
one, other = ([json.loads(line)["loss"] for line in open(f"{name}/metrics.jsonl")] for name in ("one", sys.argv[1]))
worst = max(abs(a - b) / a for a, b in zip(one, other, strict=True))
print(f"{sys.argv[1]}: {len(other)} steps, worst relative difference of the loss {worst:.1e}", "as one process" if worst < 1e-6 else "DIFFERS")
sys.exit(worst >= 1e-6)
EOF
}

rm -rf one gpus torchrun agents mpirun srun sbatch
corda train --config train.yaml -q
corda train --config train.yaml -q --gpus 2 --out gpus && verdict gpus
if command -v torchrun >/dev/null; then
  GPUS=3 PORT=29511 bash "$here/configs/cluster/torchrun.sh" train.yaml -q --out torchrun 2>torchrun.log && verdict torchrun
  for agent in 1 2; do # two agents on loopback
    NODES=2 GPUS=2 PORT=29512 bash "$here/configs/cluster/torchrun.sh" train.yaml -q --out agents 2>"agent-$agent.log" &
  done
  wait && verdict agents
fi
if command -v mpirun >/dev/null; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
  bash "$here/configs/cluster/mpirun.sh" 3 train.yaml -q --out mpirun && verdict mpirun
fi
command -v slurmctld >/dev/null || exit 0

host=$(hostname -s)
mkdir -p slurm/spool slurm/state
cat >slurm/slurm.conf <<EOF
ClusterName=one
SlurmctldHost=$host
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
ReturnToService=2
SlurmctldPidFile=$PWD/slurm/slurmctld.pid
SlurmdPidFile=$PWD/slurm/slurmd.pid
SlurmdSpoolDir=$PWD/slurm/spool
StateSaveLocation=$PWD/slurm/state
SlurmctldLogFile=$PWD/slurm/slurmctld.log
SlurmdLogFile=$PWD/slurm/slurmd.log
JobCompType=jobcomp/none
NodeName=$host CPUs=4 Boards=1 SocketsPerBoard=1 CoresPerSocket=4 ThreadsPerCore=1 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE
SlurmdParameters=config_overrides
EOF
export SLURM_CONF=$PWD/slurm/slurm.conf
[ -s /etc/munge/munge.key ] || { dd if=/dev/urandom bs=1 count=1024 of=/etc/munge/munge.key status=none && chown munge: /etc/munge/munge.key && chmod 400 /etc/munge/munge.key; }
mkdir -p /run/munge && chown munge: /run/munge
pgrep -x munged >/dev/null || runuser -u munge -- munged
end() { kill "$(cat slurm/slurmd.pid)" "$(cat slurm/slurmctld.pid)" 2>/dev/null || true; }
trap end EXIT
slurmctld && slurmd
for _ in $(seq 30); do [ "$(sinfo -h -o %t 2>/dev/null)" = idle ] && break; sleep 1; done
srun --ntasks 3 --overcommit corda train --config train.yaml -q --out srun && verdict srun
# The job file as it is, on one node of CPUs.
sbatch --wait --nodes 1 --ntasks-per-node 2 --gpus-per-node 0 --cpus-per-task 1 --output sbatch.log "$here/configs/cluster/slurm.sbatch" train.yaml -q --out sbatch
verdict sbatch
