// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/metrics.h"

#include <array>
#include <cmath>
#include <cstdio>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"

namespace corda::train {

namespace {

double supervised_share(const StepMetrics& metrics) {
  return static_cast<double>(metrics.supervised_tokens) / static_cast<double>(metrics.tokens);
}

}  // namespace

std::string progress_note(const StepMetrics& metrics) {
  std::array<char, 200> line;
  std::snprintf(line.data(), line.size(),
                "loss %.4f  lr %.3g  norm %.3g  %.0f tok/s  %.0f %% supervised  %.1f GB",
                metrics.loss, metrics.lr, metrics.grad_norm, metrics.tokens_per_second,
                100 * supervised_share(metrics),
                static_cast<double>(metrics.peak_memory_bytes) * 1e-9);
  if (metrics.utilisation == 0) return line.data();
  return core::concat(line.data(), "  ", std::lround(100 * metrics.utilisation), " % of peak");
}

core::Json to_json(const StepMetrics& m) {
  core::Json json = {{"step", m.step},
                     {"epoch", m.epoch},
                     {"loss", m.loss},
                     {"lr", m.lr},
                     {"grad_norm", m.grad_norm},
                     {"tokens", m.tokens},
                     {"supervised_tokens", m.supervised_tokens},
                     {"supervised_share", supervised_share(m)},
                     {"tokens_per_second", m.tokens_per_second},
                     {"utilisation", m.utilisation},
                     {"peak_memory_bytes", m.peak_memory_bytes}};
  if (m.eval_loss) json["eval_loss"] = *m.eval_loss;
  if (m.eval_loss && !m.eval_data.empty()) json["eval_data"] = m.eval_data;
  if (m.forgetting) json["forgetting"] = *m.forgetting;
  if (!m.forgetting_by_kind.empty()) json["forgetting_by_kind"] = m.forgetting_by_kind;
  return json;
}

StepMetrics metrics_from_json(const core::Fields& json) {
  return {.step = json.integer("step", 1),
          .epoch = json.number("epoch"),
          .loss = json.number("loss"),
          .lr = json.number("lr"),
          .grad_norm = json.number("grad_norm"),
          .tokens = json.integer("tokens", 1),
          .supervised_tokens = json.integer("supervised_tokens", 1),
          .tokens_per_second = json.number("tokens_per_second"),
          .utilisation = json.number("utilisation"),
          .peak_memory_bytes = json.integer("peak_memory_bytes", 0),
          .eval_loss = {}};
}

void write_gauges(const std::filesystem::path& path, std::int64_t step,
                  const adapter::Gauges& gauges) {
  core::Json layers = core::Json::array();
  for (const auto& [module, gauge] : gauges.layers)
    layers.push_back({{"module", module}, {"forgetting", gauge}});
  const core::Json json = {
      {"step", step}, {"in_all", gauges.in_all}, {"layers", std::move(layers)}};
  core::write_file_atomic(path, core::json_line(json) + "\n");
}

void remove_gauges_behind(const std::filesystem::path& path, std::int64_t finished_steps) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return;
  const auto json = core::Json::parse(core::read_file(path), nullptr, /*allow_exceptions=*/false);
  const bool stands =
      json.is_object() && json.contains("step") && json["step"].is_number_unsigned() &&
      json["step"].get<std::uint64_t>() <= static_cast<std::uint64_t>(finished_steps);
  if (!stands) std::filesystem::remove(path, error);
}

MetricsFile::MetricsFile(const std::filesystem::path& path, std::int64_t finished_steps) {
  std::string kept;
  if (finished_steps > 0 && std::filesystem::exists(path)) {
    std::int64_t lines = 0;
    for (const auto& line : core::split(core::read_file(path), '\n')) {
      if (line.empty() || lines == finished_steps) break;
      kept += line + "\n";
      ++lines;
    }
  }
  core::write_file_atomic(path, kept);
  file_.emplace(path);
}

bool MetricsFile::append(const StepMetrics& metrics) {
  return file_->append(core::json_line(to_json(metrics)) + "\n");
}

}  // namespace corda::train
