// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which errors say that memory ran out.
#pragma once

#include <exception>
#include <optional>
#include <string>

namespace corda::linalg {

struct OutOfMemory {
  // What ran out, in words: "the GPU's memory", "the machine's memory" or, where it may be either,
  // "memory for CUDA".
  std::string memory;
  std::string detail;  // what the allocator says, one line
};

// Nothing where the error says something else. LibTorch has a type of error for its own GPU memory
// alone; of the machine's, and of a library's on the GPU, only the text of a c10::Error tells.
std::optional<OutOfMemory> out_of_memory(const std::exception& error);

}  // namespace corda::linalg
