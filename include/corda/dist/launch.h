// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which process of several this one is, by the variables that launchers set.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace corda::dist {

// How the processes of a job find each other, and where this one stands among them.
struct Launch {
  std::string launcher = {};  // for messages: torchrun, srun, mpirun, ...
  int rank = 0;
  int size = 1;
  // The rank among the processes of this machine, where the launcher says it.
  std::optional<int> local_rank = {};
  // Where the processes meet: at `address`:`port`, where rank 0 listens, or somebody else does
  // (`hosted`); or, with an empty address, at one that rank 0 writes into `file`, which all see.
  std::string address = {};
  int port = 0;
  bool hosted = false;
  std::string file = {};
  // Tells this job from others that meet at the same place.
  std::string start = {};
  std::string command = {};  // the verb and its flags, which all ranks share
};

// The value of an environment variable, if it is set.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;

// What the launcher's variables say: torchrun (RANK, WORLD_SIZE, MASTER_ADDR, ...), srun
// (SLURM_PROCID, ...), Open MPI (OMPI_COMM_WORLD_RANK, ...), MPICH and its kin (PMI_RANK, ...).
// Nothing where none of them started this process or it is the only one. RANK and WORLD_SIZE come
// first. Throws ConfigError where variables are missing, are no numbers, or contradict each other.
std::optional<Launch> launch_of(const Environment& environment);

// The GPU that this rank should see alone, as CUDA_VISIBLE_DEVICES names it, of those that are
// `visible` (that variable's value) or, where it is not set, of the machine's `gpus`. Nothing where
// the launcher has chosen one already, does not number the machine's ranks, or there are too few.
std::optional<std::string> own_gpu(const Launch& launch, const std::optional<std::string>& visible,
                                   int gpus);

// The first host of a list as Slurm writes it: "node[03-07,9],other" gives "node03".
std::string first_host(const std::string& list);

}  // namespace corda::dist
