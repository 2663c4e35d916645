// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Several processes of the program as a launcher would start them on this machine.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "support/process.h"

namespace corda::testing {

using Variables = std::map<std::string, std::string>;

// The variables that Open MPI's mpirun gives rank `rank` of `size` on one machine; `job` tells
// one start from another.
Variables mpirun_variables(int rank, int size, const std::string& job);
// The variables of torchrun, with the ranks meeting at a port of this machine.
Variables torchrun_variables(int rank, int size, int port);

// A port of this machine that was free just now.
int free_port();

// One rank's process.
struct RankProcess {
  std::vector<std::string> arguments;  // of the program
  Variables variables;
  Watch watch = {};
  std::chrono::milliseconds delay{0};  // of its start
  std::function<void()> ended = {};
  std::vector<std::string> program = {};  // in place of corda
  std::int64_t largest_file = 0;          // bytes that it may write into one; 0: any number
};

// Runs them beside each other and gives their results in the same order.
std::vector<ProcessResult> run_ranks(const std::vector<RankProcess>& ranks);

// `size` ranks of the same command, by mpirun's variables; `extra` variables for all.
std::vector<RankProcess> ranks_of(int size, const std::vector<std::string>& arguments,
                                  const Variables& extra = {});

}  // namespace corda::testing
