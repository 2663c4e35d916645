// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/run_directory.h"

#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

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
  if (const fs::path result = result_of(settings); fs::exists(result, error)) {
    throw core::ConfigError(concat(
        "'", settings.out,
        "' holds a finished run; choose another --out. More epochs do not "
        "lengthen it, as its learning rate was planned to end where it did: to train its "
        "result further, start from it with --set ",
        settings.method == "full" ? "model=" : "adapter=", result.string(), " and another --out"));
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
  fs::path existing = fs::absolute(path).lexically_normal();
  std::error_code error;
  while (!fs::exists(existing, error) && existing.has_relative_path())
    existing = existing.parent_path();
  if (!fs::is_directory(existing, error)) core::throw_output_error("create", path, ENOTDIR);
  if (::access(existing.c_str(), W_OK | X_OK) != 0) core::throw_output_error("create", path, errno);
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
