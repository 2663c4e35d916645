// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Runs the program as a user would and gives back what it printed.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace corda::testing {

struct ProcessResult {
  int exit_code = -1;  // 128 + signal where one ended it
  std::string out;
  std::string err;
};

// Called again and again while the process runs, with its id and what it wrote to stderr so far;
// false: it need not be called any more.
using Watch = std::function<bool(pid_t process, const std::string& err)>;

// Whether a process may use this machine's GPUs. Starting CUDA takes seconds, and what a GPU
// computes differs in the last bits, so a test that is not about GPUs hides them.
enum class Gpus { kHidden, kVisible };

// Starts `argv[0]` with the arguments, nothing on stdin, and waits for its end. A SIGINT ends it,
// also where the test itself was started so that it ignores one.
ProcessResult run_process(const std::vector<std::string>& argv, const Watch& watch = {},
                          Gpus gpus = Gpus::kHidden);

// The program under test with some arguments and no GPU.
ProcessResult run_corda(std::vector<std::string> arguments, const Watch& watch = {});

// Sends a SIGINT as soon as the file holds something.
Watch interrupt_when_written(const std::string& file);

// Sends a SIGINT as soon as stderr holds the text.
Watch interrupt_when_said(const std::string& text);

}  // namespace corda::testing
