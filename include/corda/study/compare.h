// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Methods against each other on one base and one task: many runs, and what came of them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "corda/core/config_node.h"
#include "corda/core/reporter.h"
#include "corda/core/settings.h"

namespace corda::study {

// A study.yaml. Every combination of method, rate, rank, modules, decay and seed is one run.
struct CompareSettings {
  std::string model;
  core::ConfigNode train;         // settings of corda train that all runs share
  core::ConfigNode calibrations;  // by name: settings of corda calibrate
  // The methods by their names. Each has `train` and `decompose` (settings of these verbs, the
  // latter's `covariance` and `task_covariance` being names of calibrations), and `rates`, `ranks`,
  // `decays` of its own.
  core::ConfigNode methods;
  std::vector<double> rates = {};   // none: optim.lr of `train`
  std::vector<double> ranks = {};   // none: lora.rank of `train`
  std::vector<double> decays = {};  // none: optim.weight_decay of `train`
  std::vector<double> seeds = {0};
  core::ConfigNode modules;   // by name: target_modules; none: all-linear
  core::ConfigNode evaluate;  // by name: settings of corda eval
  std::string task = "task";  // the evaluation of what is learnt; the others are of what is kept
  bool keep_models = false;   // of method full: its weights, once they are evaluated
  std::string device = "auto";
  std::int64_t threads = 0;
  std::string out;
  std::string tuning_cache = "none";  // of TrainSettings; no setting of the file
};

core::SettingsList settings_of(CompareSettings& settings);

struct CompareResult {
  std::int64_t runs = 0;
  std::int64_t done = 0;     // now
  std::int64_t skipped = 0;  // that were finished before
  std::int64_t failed = 0;   // whose loss was not finite, now or before
  std::string results;       // OUT/results.jsonl
  std::string report;        // OUT/report.html; report.md is beside it
};

// What a command line does with the paths of a verb's settings (home, hubs, patterns).
using ExpandPaths = std::function<void(const core::SettingsList&)>;

// Calibrates, decomposes, trains and evaluates all that the runs need, one after the other, in the
// folders OUT/covariance/NAME, OUT/adapters/NAME, OUT/base and OUT/runs/NAME, which are ordinary
// directories of these verbs; evaluations are OUT/runs/NAME/evaluations/NAME.json. Seeds come last
// in the order, so that an interrupted study has every method at least once. Called again it skips
// what is finished, goes on with a run that was killed, and does what was added. results.jsonl (a
// line a run) and the report are written after every run. A run whose loss is not finite counts as
// failed, and the others go on. All settings are checked before anything is done. Throws
// ConfigError where a part was made with other settings than it has now, and names them; else what
// the verbs throw.
CompareResult compare(const CompareSettings& settings, core::Reporter& reporter,
                      const ExpandPaths& expand = {});

// The names of its runs in their order, all settings checked; nothing else is done.
std::vector<std::string> run_names(const CompareSettings& settings, const ExpandPaths& expand = {});

}  // namespace corda::study
