// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What corda/kernels/gemm_plans.h remembers.
#pragma once

#include <cublasLt.h>

#include <map>
#include <optional>

#include "kernels/plan_key.h"

namespace corda::kernels::cuda {

class PlanTable {
 public:
  std::optional<cublasLtMatmulAlgo_t> find(const PlanKey& key) const {
    const auto found = plans_.find(key);
    return found == plans_.end() ? std::nullopt : std::optional(found->second);
  }
  void insert(const PlanKey& key, const cublasLtMatmulAlgo_t& plan) { plans_[key] = plan; }

 private:
  std::map<PlanKey, cublasLtMatmulAlgo_t> plans_;
};

}  // namespace corda::kernels::cuda
