// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Several processes of this program on one machine, for who has no launcher.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace corda::tools {

// Starts this program `count` times with `arguments` (argv without the program and without
// "--gpus") as ranks of one job, and waits for all of them. While `stop_requested` they are asked
// to stop; where one fails or is killed the others are told, and ended where they do not end by
// themselves. Returns the exit code of the one that failed first, else 0. Throws ResourceError
// where no process can be started.
int run_local_ranks(int count, const std::vector<std::string>& arguments,
                    const std::function<bool()>& stop_requested);

// `arguments` without "--gpus N" and "--gpus=N".
std::vector<std::string> without_gpus(const std::vector<std::string>& arguments);

}  // namespace corda::tools
