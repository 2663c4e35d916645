// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/out_of_memory.h"

#include <c10/util/Exception.h>
#include <cuda_runtime_api.h>

#include <new>

#include "corda/core/text.h"

namespace corda::linalg {

std::optional<OutOfMemory> out_of_memory(const std::exception& error) {
  if (const auto* bad = dynamic_cast<const std::bad_alloc*>(&error))
    return OutOfMemory{"the machine's memory", bad->what()};
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  if (torch == nullptr) return std::nullopt;
  const std::string text = core::first_line(torch->what_without_backtrace());
  if (dynamic_cast<const c10::OutOfMemoryError*>(torch) != nullptr)
    return OutOfMemory{"the GPU's memory", text};
  // What is not the GPU's allocator's runs out so: pinned memory of the machine, a context, a
  // graph.
  const auto* cuda = dynamic_cast<const c10::AcceleratorError*>(torch);
  if (cuda != nullptr && cuda->get_error_code() == cudaErrorMemoryAllocation)
    return OutOfMemory{"memory for CUDA", text};
  // A library asks the driver for its workspace, and says in words alone that it got none.
  if (text.find("CUBLAS_STATUS_ALLOC_FAILED") != std::string::npos ||
      text.find("CUSOLVER_STATUS_ALLOC_FAILED") != std::string::npos)
    return OutOfMemory{"the GPU's memory", text};
  const auto allocator = text.find("DefaultCPUAllocator: can't allocate memory");
  if (allocator == std::string::npos) return std::nullopt;
  return OutOfMemory{"the machine's memory", text.substr(allocator)};
}

}  // namespace corda::linalg
