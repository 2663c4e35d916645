// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Runs the program as a user would and gives back what it printed.
#pragma once

#include <string>
#include <vector>

namespace corda::testing {

struct ProcessResult {
  int exit_code = -1;  // 128 + signal where one ended it
  std::string out;
  std::string err;
};

// Starts `argv[0]` with the arguments, nothing on stdin. With `interrupt_when` a SIGINT is sent as
// soon as stderr or the file of that name (if it begins with '/') exists or holds text.
ProcessResult run_process(const std::vector<std::string>& argv,
                          const std::string& interrupt_when_file = "");

// The program under test with some arguments.
ProcessResult run_corda(std::vector<std::string> arguments,
                        const std::string& interrupt_when_file = "");

}  // namespace corda::testing
