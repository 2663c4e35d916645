// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// From a study's settings to those of every verb that it calls.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "corda/calibrate/calibrate.h"
#include "corda/decompose/decompose.h"
#include "corda/eval/eval.h"
#include "corda/study/compare.h"
#include "corda/train/settings.h"

namespace corda::study {

namespace fs = std::filesystem;

struct PlannedRun {
  std::string name;
  std::string group;  // the name without rate and seed
  std::string method;
  std::string modules;
  double rate = 0;
  double decay = 0;
  std::int64_t rank = 0;
  std::int64_t seed = 0;
  train::TrainSettings train;
  std::string adapter = {};  // of ComparePlan::adapters; "": none is decomposed
};

struct ComparePlan {
  std::map<std::string, calibrate::CalibrateSettings> calibrations;  // that adapters need
  std::map<std::string, decompose::DecomposeSettings> adapters;
  std::map<std::string, std::vector<std::string>> calibrations_of;  // by adapter
  std::vector<PlannedRun> runs;
  std::vector<std::pair<std::string, eval::EvalSettings>> evaluations;  // without model
};

// Throws ConfigError with all that is wrong.
ComparePlan plan_of(const CompareSettings& settings, const ExpandPaths& expand);

// All that a part depends on, by verb: what a continued study must have as it was.
core::ConfigNode binding_of(const ComparePlan& plan, const PlannedRun& run);
core::ConfigNode binding_of_adapter(const ComparePlan& plan, const std::string& adapter);
core::ConfigNode binding_of(const calibrate::CalibrateSettings& settings);
core::ConfigNode binding_of(const eval::EvalSettings& settings);

}  // namespace corda::study
