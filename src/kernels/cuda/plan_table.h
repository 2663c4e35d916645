// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What corda/kernels/gemm_plans.h remembers.
#pragma once

#include <cublasLt.h>

#include <cstring>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "kernels/plan_file.h"
#include "kernels/plan_key.h"

namespace corda::kernels::cuda {

static_assert(sizeof(cublasLtMatmulAlgo_t) == sizeof(StoredAlgorithm));

class PlanTable {
 public:
  // Plans are kept in `directory`; nowhere where it is empty. `tries`: whether others are looked
  // for.
  explicit PlanTable(std::filesystem::path directory, bool tries = true)
      : directory_(std::move(directory)), tries_(tries) {}
  PlanTable(const PlanTable&) = delete;
  PlanTable& operator=(const PlanTable&) = delete;
  ~PlanTable() {
    if (found_.empty() || directory_.empty()) return;
    try {
      keep_plans(directory_, made_for_, found_);
    } catch (const std::exception&) {  // the next run tries them again
    }
  }

  // Takes up what is kept, the first time that it is called; `made_for` says for which GPU and
  // versions.
  void load(const std::function<std::string()>& made_for) {
    if (std::exchange(loaded_, true) || directory_.empty()) return;
    made_for_ = made_for();
    for (const auto& [key, stored] : read_plans(directory_, made_for_)) {
      cublasLtMatmulAlgo_t plan;
      std::memcpy(&plan, stored.data(), stored.size());
      plans_[key] = plan;
    }
  }

  bool tries() const { return tries_; }
  std::optional<cublasLtMatmulAlgo_t> find(const PlanKey& key) const {
    const auto found = plans_.find(key);
    return found == plans_.end() ? std::nullopt : std::optional(found->second);
  }
  void insert(const PlanKey& key, const cublasLtMatmulAlgo_t& plan) {
    plans_[key] = plan;
    std::memcpy(found_[key].data(), &plan, sizeof(plan));
  }

 private:
  std::filesystem::path directory_;
  bool tries_ = true;
  bool loaded_ = false;
  std::string made_for_;
  std::map<PlanKey, cublasLtMatmulAlgo_t> plans_;
  StoredPlans found_;  // by this process
};

}  // namespace corda::kernels::cuda
