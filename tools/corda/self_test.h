// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Each backend against its reference, in seconds: what `corda doctor` runs.
#pragma once

#include <c10/core/Device.h>

#include <string>
#include <vector>

namespace corda::tools {

struct Check {
  std::string name;
  std::string reference;
  double error = 0;  // the largest difference, relative to the largest value of the reference
  double limit = 0;  // what rounding explains
  double seconds = 0;
  std::string failure = {};  // why it could not be computed; "" where it could

  bool passed() const { return failure.empty() && error <= limit; }
};

// Checks the kernels and the solver: on the CPU against formulas that are written out, on a GPU
// against the CPU.
std::vector<Check> self_test(c10::Device device);

}  // namespace corda::tools
