// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which algorithm a matrix product uses, found by timing.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>

namespace corda::kernels {

namespace cuda {
class PlanTable;
}

// Given to the products of gemm.h, it makes the first one of each kind on a GPU try the algorithms
// that cuBLASLt proposes and remembers the fastest; later ones of about that size (within an
// eighth), the same layout and alignment use it. The first one then takes some milliseconds, waits
// for the GPU and needs memory for a second result. What is fastest by a hair may differ from run
// to run, and with it the last bits of a result. With a directory the algorithms are kept there
// from run to run, apart for each GPU and version of its driver and libraries, and need not be
// tried again; a directory that cannot be read or written is done without. No effect on the CPU.
// For one thread and one GPU.
class GemmPlans {
 public:
  // Where it does not try, products that are not kept use what cuBLASLt proposes first, and nothing
  // is added to what is kept.
  explicit GemmPlans(std::filesystem::path directory = {}, bool tries = true);
  GemmPlans(const GemmPlans&) = delete;
  GemmPlans& operator=(const GemmPlans&) = delete;
  // Adds what was found to what is kept in the directory.
  ~GemmPlans();

  cuda::PlanTable& table() const { return *table_; }

 private:
  std::unique_ptr<cuda::PlanTable> table_;
};

// Rows of the results, as size classes (core/round_up.h), of the products that `directory` keeps
// algorithms for, for this GPU. Empty where it keeps none.
std::set<std::int64_t> rows_kept(const std::filesystem::path& directory, at::Device gpu);

}  // namespace corda::kernels
