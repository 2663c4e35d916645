// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which algorithm a matrix product uses, found by timing.
#pragma once

#include <memory>

namespace corda::kernels {

namespace cuda {
class PlanTable;
}

// Given to the products of gemm.h, it makes the first one of each kind on a GPU try the algorithms
// that cuBLASLt proposes and remembers the fastest; later ones of about that size (within an
// eighth), the same layout and alignment use it. The first one then takes some milliseconds, waits
// for the GPU and needs memory for a second result. What is fastest by a hair may differ from run
// to run, and with it the last bits of a result. No effect on the CPU. For one thread.
class GemmPlans {
 public:
  GemmPlans();
  GemmPlans(const GemmPlans&) = delete;
  GemmPlans& operator=(const GemmPlans&) = delete;
  ~GemmPlans();

  cuda::PlanTable& table() const { return *table_; }

 private:
  std::unique_ptr<cuda::PlanTable> table_;
};

}  // namespace corda::kernels
