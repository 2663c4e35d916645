// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What a run directory says, read tolerantly.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"
#include "report/series.h"

namespace corda::report {

namespace fs = std::filesystem;

// One evaluation, as `corda eval --json` printed it.
struct Measure {
  std::string task;
  std::string score_name;
  std::optional<double> score;
  std::optional<double> nll;  // mean per target token
  std::int64_t samples = 0;
};

struct Layer {
  std::string module;
  std::optional<double> energy = {};  // of the directions that the adapter began with
  double total_energy = 0;
  std::optional<double> update_norm = {};
  std::optional<double> forgetting = {};     // the gauge F
  std::vector<double> singular_values = {};  // of the update, descending
};

struct Run {
  fs::path path;
  std::string name;    // short, and no other run of the report has it
  std::string method;  // "lora", "corda kpa"
  std::string group;   // runs of one have all but rate and seed in common; "": not said
  std::optional<double> rate;
  std::string seed;
  bool finished = false;
  bool failed = false;  // as a study says of a loss that was not finite
  std::vector<std::pair<std::string, std::string>> settings;  // by dotted names
  std::map<std::string, Series> metrics;                      // by key, over steps
  std::map<std::string, Series> gauge_by_kind;  // the gauge F by kind of layer, over steps
  std::optional<std::int64_t> gauged_after;     // the steps after which the layers had theirs
  std::vector<double> resumed;                  // after these steps
  std::optional<double> lowest_evaluation;      // on the data that were evaluated on last
  std::map<std::string, Measure> measures;
  std::vector<Layer> layers;
  std::vector<std::pair<std::string, std::string>> origins;  // versions and hashes
  std::vector<std::string> problems;                         // what could not be read, and why
};

// Throws IoError, FormatError for what is no run directory; anything else that cannot be read
// becomes a problem.
Run read_run(const fs::path& path);

// The evaluations/ of a folder; adds to `problems`.
std::map<std::string, Measure> read_measures(const fs::path& folder,
                                             std::vector<std::string>& problems);

// Takes norms, singular values and gauges from what `corda inspect` says of the run.
void add_inspected(const std::string& json, Run& run);

// The last finite value of a metric.
std::optional<double> last_of(const Run& run, const std::string& key);

}  // namespace corda::report
