// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/metrics.h"

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"

namespace corda::train {

core::Json to_json(const StepMetrics& m) {
  core::Json json = {{"step", m.step},
                     {"epoch", m.epoch},
                     {"loss", m.loss},
                     {"lr", m.lr},
                     {"grad_norm", m.grad_norm},
                     {"tokens", m.tokens},
                     {"supervised_tokens", m.supervised_tokens},
                     {"tokens_per_second", m.tokens_per_second},
                     {"utilisation", m.utilisation},
                     {"peak_memory_bytes", m.peak_memory_bytes}};
  if (m.eval_loss) json["eval_loss"] = *m.eval_loss;
  return json;
}

StepMetrics metrics_from_json(const core::Json& json, const std::string& source) {
  const auto number = [&](const char* key) -> const core::Json& {
    const core::Json& value = core::require_key(json, key, source);
    if (!value.is_number())
      throw core::FormatError(core::concat(source, ": '", key, "' must be a number"));
    return value;
  };
  return {.step = number("step").get<std::int64_t>(),
          .epoch = number("epoch").get<double>(),
          .loss = number("loss").get<double>(),
          .lr = number("lr").get<double>(),
          .grad_norm = number("grad_norm").get<double>(),
          .tokens = number("tokens").get<std::int64_t>(),
          .supervised_tokens = number("supervised_tokens").get<std::int64_t>(),
          .tokens_per_second = number("tokens_per_second").get<double>(),
          .utilisation = number("utilisation").get<double>(),
          .peak_memory_bytes = number("peak_memory_bytes").get<std::int64_t>(),
          .eval_loss = {}};
}

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

void MetricsFile::append(const StepMetrics& metrics) {
  file_ << to_json(metrics).dump() << "\n" << std::flush;
  if (!file_)
    throw core::ResourceError(
        core::concat("cannot write '", path_.string(), "'; is the disk full?"));
}

}  // namespace corda::train
