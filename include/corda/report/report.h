// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// One page about one or several runs: curves, comparison, layers, settings, where all came from.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/core/settings.h"

namespace corda::report {

struct ReportSettings {
  std::vector<std::string> runs = {};  // run directories of `corda train`
  std::string base = {};        // a folder whose evaluations/ are those of the untrained model
  std::string task = "task";    // the measure that says how much was learnt; the others are kept
  std::string format = "auto";  // html | markdown; auto: by the name of `out`, else html
  std::string out = {};         // the file that is written; "": nothing is
  std::string title = {};
};

// The list behind the flags of `corda report`.
core::SettingsList settings_of(ReportSettings& settings);

// What the page says in addition to what it reads in the runs.
struct Supplement {
  std::string program = {};                           // the program and its version
  std::map<std::string, std::string> inspected = {};  // by run: `corda inspect --spectra --json`
  std::vector<std::string> sentences = {};            // at its beginning
};

// The page's text, also written to `out`, atomically. Of every run are read config.resolved.yaml,
// metrics.jsonl, adapter/corda.json, evaluations/NAME.json (what `corda eval --json` prints: the
// measure NAME), study.json (its `group`, `rate` and `seed`) and versions.jsonl; all but the first
// may be missing. A line or file that cannot be read is left out, and the reporter and the page
// name it. Steps that were taken again after a resume stand for the earlier ones. Throws IoError
// and FormatError for a directory that is no run; ConfigError; ResourceError.
std::string report(const ReportSettings& settings, core::Reporter& reporter,
                   const Supplement& supplement = {});

}  // namespace corda::report
