// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/run_directory.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/data/load.h"
#include "train/checkpoint.h"

namespace corda::train {

using core::concat;

namespace {

bool has_metrics(const fs::path& run) {
  std::error_code error;
  const auto size = fs::file_size(run / kMetricsName, error);
  return !error && size > 0;
}

}  // namespace

fs::path result_of(const TrainSettings& settings) {
  return fs::path(settings.out) / (settings.method == "full" ? "model" : "adapter");
}

void check_run_directory(const TrainSettings& settings, bool resume) {
  const fs::path run = settings.out;
  std::error_code error;
  for (const auto& [file, kind] : {std::pair{"config.json", "model"},
                                   {"adapter_config.json", "adapter"},
                                   {"manifest.json", "covariance"}}) {
    if (fs::exists(run / file, error))
      throw core::ConfigError(concat("--out: '", settings.out, "' is a directory of a ", kind,
                                     " (it holds ", file, "); choose another one"));
  }
  for (const char* kind : {"model", "adapter"}) {
    const fs::path result = run / kind;
    if (!fs::exists(result, error)) continue;
    // What another method would write counts where it stands in a run; else it is the user's.
    if (result != result_of(settings) && !has_metrics(run)) continue;
    throw core::ConfigError(concat(
        "'", settings.out,
        "' holds a finished run; choose another --out. More epochs do not lengthen it, as only "
        "an unfinished run is continued: to train its result further, start from it with "
        "--set ",
        kind, "=", result.string(), " and another --out"));
  }
  const bool begun = has_metrics(run);
  const bool can_go_on = latest_checkpoint(run).has_value();
  if (!resume && (begun || can_go_on)) {
    throw core::ConfigError(
        concat("'", settings.out,
               "' holds an unfinished run; continue it with --resume or choose another --out"));
  }
  if (resume && begun && !can_go_on) {
    throw core::ConfigError(concat(
        "--resume: '", settings.out, "' holds ", kMetricsName,
        " of a run but no complete checkpoint to go on from; to start anew choose another --out, "
        "or move that directory away"));
  }
}

void check_writable(const fs::path& path) {
  std::error_code error;
  std::vector<fs::path> missing;  // innermost first
  fs::path existing = fs::absolute(path).lexically_normal();
  if (!existing.has_filename()) existing = existing.parent_path();
  for (; !fs::exists(existing, error) && existing.has_relative_path();
       existing = existing.parent_path())
    missing.push_back(existing);
  // Permissions do not say it all: some file systems (/proc, read-only ones) refuse for reasons of
  // their own. In a directory that is there another one is tried.
  if (missing.empty()) missing.push_back(existing / concat(".corda-probe-", ::getpid()));
  std::vector<fs::path> made;
  int code = 0;
  for (auto part = missing.rbegin(); part != missing.rend() && code == 0; ++part) {
    if (::mkdir(part->c_str(), 0777) == 0)
      made.push_back(*part);
    else if (errno != EEXIST)  // of another process
      code = errno;
  }
  for (auto part = made.rbegin(); part != made.rend(); ++part) ::rmdir(part->c_str());
  if (code != 0) core::throw_output_error("create", path, code);
}

std::string date_of(const fs::path& run, bool resume) {
  const fs::path before = run / kResolvedName;
  std::error_code ignored;
  if (!resume || !fs::exists(before, ignored)) return data::today();
  TrainSettings settings;
  settings_of(settings).read(core::parse_yaml(core::read_file(before), before.string()));
  return settings.data.date.empty() ? data::today() : settings.data.date;
}

}  // namespace corda::train
