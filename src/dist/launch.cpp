// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/dist/launch.h"

#include <unistd.h>

#include <filesystem>
#include <vector>

#include "corda/core/error.h"
#include "corda/core/text.h"

namespace corda::dist {

using core::concat;

namespace {

// The names that a launcher has for what we ask.
struct Convention {
  const char* launcher;
  const char* rank;
  const char* size;
  const char* local_rank;
  const char* local_size;  // processes on this machine; nullptr: it does not say
  const char* job;         // tells one job from another; nullptr: it does not say
};

// PyTorch's own variables, which torchrun sets and many scripts.
constexpr Convention kTorch = {"torchrun",   "RANK",  "WORLD_SIZE",
                               "LOCAL_RANK", nullptr, "TORCHELASTIC_RUN_ID"};
// These are the variables of a step. Those of the job stand in a batch script too, which srun did
// not start.
constexpr Convention kSlurm = {"srun",          "SLURM_PROCID", "SLURM_STEP_NUM_TASKS",
                               "SLURM_LOCALID", nullptr,        "SLURM_JOB_ID"};
constexpr Convention kOpenMpi = {"Open MPI's mpirun",          "OMPI_COMM_WORLD_RANK",
                                 "OMPI_COMM_WORLD_SIZE",       "OMPI_COMM_WORLD_LOCAL_RANK",
                                 "OMPI_COMM_WORLD_LOCAL_SIZE", "PMIX_NAMESPACE"};
constexpr Convention kMpich = {"mpiexec (PMI)",   "PMI_RANK",        "PMI_SIZE",
                               "MPI_LOCALRANKID", "MPI_LOCALNRANKS", "PMI_ID"};

constexpr int kMostRanks = 1 << 20;

std::optional<int> number_of(const Environment& environment, const char* name, int least,
                             int most) {
  const auto text = environment(name);
  if (!text || text->empty()) return std::nullopt;
  const auto value = core::parse_int(*text);
  if (!value || *value < least || *value > most) {
    throw core::ConfigError(concat("the environment variable ", name, " must be a number from ",
                                   least, " to ", most, "; it is '", *text, "'"));
  }
  return static_cast<int>(*value);
}

// Rank and size by one launcher's variables; nothing where it did not start this process.
std::optional<Launch> read(const Environment& environment, const Convention& names) {
  const auto rank = number_of(environment, names.rank, 0, kMostRanks - 1);
  const auto size = number_of(environment, names.size, 1, kMostRanks);
  if (!rank && !size) return std::nullopt;
  if (!rank || !size) {
    throw core::ConfigError(concat("the environment variable ", rank ? names.rank : names.size,
                                   " is set and ", rank ? names.size : names.rank,
                                   " is not; set both, as ", names.launcher, " does, or neither"));
  }
  if (*rank >= *size) {
    throw core::ConfigError(concat("the environment variable ", names.rank, " is ", *rank, ", and ",
                                   names.size, " = ", *size, " allows 0 to ", *size - 1));
  }
  Launch launch{.launcher = names.launcher, .rank = *rank, .size = *size};
  launch.local_rank = number_of(environment, names.local_rank, 0, kMostRanks - 1);
  return launch;
}

// srun exports the job's variables to a batch script as well; there is no step there.
std::optional<Launch> read_slurm(const Environment& environment) {
  if (!environment("SLURM_STEP_ID") || !environment(kSlurm.size)) return std::nullopt;
  return read(environment, kSlurm);
}

void read_address(const Environment& environment, Launch& launch) {
  launch.address = environment("MASTER_ADDR").value_or("");
  if (launch.address.empty()) return;
  const auto port = number_of(environment, "MASTER_PORT", 1, 65535);
  if (!port) {
    throw core::ConfigError(
        "the environment variable MASTER_ADDR is set and MASTER_PORT is not; set both");
  }
  launch.port = *port;
}

// Chooses a port that another job of the same machine hardly has.
int port_of_job(const std::string& job, const std::string& step) {
  const std::int64_t number =
      core::parse_int(job).value_or(0) * 31 + core::parse_int(step).value_or(0);
  return static_cast<int>(20000 + number % 20000);
}

// A file that the processes of one mpirun on one machine share, and no others.
std::string meeting_file(const Environment& environment, const Convention& names) {
  const std::string job = environment(names.job).value_or(concat("parent-", ::getppid()));
  std::string name = concat("corda-", ::getuid(), "-", job);
  for (char& c : name)
    if (c == '/') c = '-';
  return (std::filesystem::temp_directory_path() / name).string();
}

// Where the processes of an MPI launcher meet.
void meet_by_mpi(const Environment& environment, const Convention& names, Launch& launch) {
  read_address(environment, launch);
  if (names.job != nullptr) launch.start = environment(names.job).value_or("");
  if (!launch.address.empty()) return;
  const auto here = number_of(environment, names.local_size, 1, kMostRanks);
  if (here && *here == launch.size) {
    launch.file = meeting_file(environment, names);
    launch.start = launch.file;
    return;
  }
  throw core::ConfigError(concat(
      "started by ", names.launcher,
      " on several machines, which does not say where its processes meet; give all of them "
      "MASTER_ADDR (the machine of rank 0) and MASTER_PORT (a free port there), with Open MPI by "
      "-x MASTER_ADDR=... -x MASTER_PORT=..."));
}

void meet_by_slurm(const Environment& environment, Launch& launch) {
  launch.start = concat(environment("SLURM_JOB_ID").value_or(""), ".",
                        environment("SLURM_STEP_ID").value_or(""));
  read_address(environment, launch);
  if (!launch.address.empty()) return;
  std::string nodes = environment("SLURM_STEP_NODELIST").value_or("");
  if (nodes.empty()) nodes = environment("SLURM_JOB_NODELIST").value_or("");
  if (nodes.empty()) {
    throw core::ConfigError(
        "started by srun without SLURM_STEP_NODELIST; set MASTER_ADDR to the machine of rank 0 and "
        "MASTER_PORT to a free port there");
  }
  launch.address = first_host(nodes);
  launch.port = port_of_job(environment("SLURM_JOB_ID").value_or("0"),
                            environment("SLURM_STEP_ID").value_or("0"));
}

void meet_by_torch(const Environment& environment, Launch& launch) {
  read_address(environment, launch);
  if (launch.address.empty()) {
    throw core::ConfigError(
        "RANK and WORLD_SIZE are set and MASTER_ADDR is not; start with torchrun, or set "
        "MASTER_ADDR and MASTER_PORT to where rank 0 can listen");
  }
  // torchrun's agent listens itself; a second server at that port would fail.
  launch.hosted = environment("TORCHELASTIC_USE_AGENT_STORE").value_or("") == "True";
  const auto run = environment("TORCHELASTIC_RUN_ID");
  if (run)
    launch.start = concat(*run, "/", environment("TORCHELASTIC_RESTART_COUNT").value_or("0"));
}

// Two launchers that both say there are several processes must say the same, but for torchrun
// started once a machine by another one.
void check_agreement(const Launch& torch, const std::optional<Launch>& other, bool elastic) {
  if (!other || other->size == 1 || elastic) return;
  if (other->rank == torch.rank && other->size == torch.size) return;
  throw core::ConfigError(concat("RANK and WORLD_SIZE say rank ", torch.rank, " of ", torch.size,
                                 ", and ", other->launcher, " says rank ", other->rank, " of ",
                                 other->size, "; unset RANK and WORLD_SIZE, or set them alike"));
}

// Whether PMI's variables are those of mpiexec in a job of Slurm. Its proxies are started by srun,
// a task a node, whose variables every rank inherits; srun itself may set PMI's too, with its own
// numbers.
bool started_by_hydra(const Launch& slurm, const Launch& mpich) {
  if (slurm.rank == mpich.rank && slurm.size == mpich.size) return false;
  if (mpich.local_rank) return true;
  throw core::ConfigError(concat("srun says rank ", slurm.rank, " of ", slurm.size,
                                 ", and PMI_RANK and PMI_SIZE say rank ", mpich.rank, " of ",
                                 mpich.size, "; unset those of the launcher that is not meant"));
}

}  // namespace

std::optional<std::string> own_gpu(const Launch& launch, const std::optional<std::string>& visible,
                                   int gpus) {
  if (!launch.local_rank) return std::nullopt;
  const auto mine = static_cast<std::size_t>(*launch.local_rank);
  if (!visible) {
    if (*launch.local_rank >= gpus || gpus < 2) return std::nullopt;
    return concat(*launch.local_rank);
  }
  const auto names = core::split(*visible, ',');
  if (names.size() < 2 || mine >= names.size()) return std::nullopt;
  return std::string(core::trim(names[mine]));
}

std::string first_host(const std::string& list) {
  const std::size_t bracket = list.find('[');
  const std::size_t comma = list.find(',');
  if (bracket == std::string::npos || comma < bracket) return list.substr(0, comma);
  const std::size_t number_end = list.find_first_of(",-]", bracket);
  const std::size_t close = list.find(']', bracket);
  if (close == std::string::npos)
    throw core::ConfigError(concat("'", list, "' is no list of hosts: a ']' is missing"));
  const std::string host =
      list.substr(0, bracket) + list.substr(bracket + 1, number_end - bracket - 1);
  const std::size_t end = list.find_first_of(",[", close + 1);
  return host + list.substr(close + 1, end == std::string::npos ? end : end - close - 1);
}

std::optional<Launch> launch_of(const Environment& environment) {
  auto slurm = read_slurm(environment);
  const auto open_mpi = read(environment, kOpenMpi);
  auto launch = read(environment, kTorch);
  // Beside Slurm's, one of PMI's two variables alone is left over from somewhere.
  const bool asks_pmi = !slurm || (environment(kMpich.rank) && environment(kMpich.size));
  auto mpich = open_mpi || !asks_pmi ? std::nullopt : read(environment, kMpich);
  if (slurm && mpich && !launch) (started_by_hydra(*slurm, *mpich) ? slurm : mpich).reset();
  if (launch) {
    const bool elastic = environment(kTorch.job).has_value();
    for (const std::optional<Launch>& other : {slurm, open_mpi, mpich})
      check_agreement(*launch, other, elastic);
    if (launch->size > 1) meet_by_torch(environment, *launch);
  } else if (open_mpi) {
    launch = open_mpi;
    if (launch->size > 1) meet_by_mpi(environment, kOpenMpi, *launch);
  } else if (slurm) {
    launch = slurm;
    if (launch->size > 1) meet_by_slurm(environment, *launch);
  } else if (mpich) {
    launch = mpich;
    if (launch->size > 1) meet_by_mpi(environment, kMpich, *launch);
  }
  if (!launch || launch->size == 1) return std::nullopt;
  return launch;
}

}  // namespace corda::dist
