// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/metrics.h"

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"
#include "core/json.h"

namespace corda::train {

MetricsFile::MetricsFile(std::filesystem::path path, std::int64_t finished_steps)
    : path_(std::move(path)) {
  std::string kept;
  if (finished_steps > 0 && std::filesystem::exists(path_)) {
    std::int64_t lines = 0;
    for (const auto& line : core::split(core::read_file(path_), '\n')) {
      if (line.empty() || lines == finished_steps) break;
      kept += line + "\n";
      ++lines;
    }
  }
  core::write_file_atomic(path_, kept);
  file_.open(path_, std::ios::app);
}

void MetricsFile::append(const StepMetrics& m) {
  core::Json line = {{"step", m.step},
                     {"epoch", m.epoch},
                     {"loss", m.loss},
                     {"lr", m.lr},
                     {"grad_norm", m.grad_norm},
                     {"tokens", m.tokens},
                     {"supervised_tokens", m.supervised_tokens},
                     {"tokens_per_second", m.tokens_per_second},
                     {"utilisation", m.utilisation},
                     {"peak_memory_bytes", m.peak_memory_bytes}};
  if (m.eval_loss) line["eval_loss"] = *m.eval_loss;
  file_ << line.dump() << "\n" << std::flush;
  if (!file_)
    throw core::ResourceError(
        core::concat("cannot write '", path_.string(), "'; is the disk full?"));
}

}  // namespace corda::train
