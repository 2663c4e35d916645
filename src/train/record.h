// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What a run writes into its directory while it trains, and what it leaves. Where several ranks
// train, rank 0 has one.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "corda/core/reporter.h"
#include "corda/train/train.h"
#include "core/reserved_space.h"
#include "train/best_result.h"
#include "train/checkpoint_writer.h"
#include "train/event_file.h"
#include "train/metrics.h"
#include "train/trainable.h"
#include "train/trained_state.h"

namespace corda::train {

// What a run writes of, all of which outlives its record.
struct Recorded {
  const TrainSettings& settings;  // as they were given
  Trainable& trainable;
  TrainedState& state;
  core::Reporter& reporter;
};

// Whether a run with these settings keeps the result of its lowest evaluation loss.
bool keeps_best(const TrainSettings& settings);

// What reads the state, to write or to restore it, is called as work of TrainedState::by_first.
class Record {
 public:
  // `identity`: what a continuation must share. `evaluated`: fingerprint of the samples that
  // evaluation losses are of.
  Record(const Recorded& run, core::ConfigNode identity, const std::string& evaluated);

  // Takes up the run directory, with `resume` from its latest checkpoint, whose parameters and
  // moments are put in place; `total`: steps of the run. Returns what is already done.
  Progress take_up(bool resume, std::int64_t total, const TrainSettings& resolved);
  // Takes room for the result, and opens what steps are written to behind those that are done.
  void begin(const Progress& before);

  // A line of metrics; where evaluated, the result is kept if its loss is the lowest.
  void add(const StepMetrics& metrics);
  // What the gauge says of every layer after `step` steps, in place of what it said before.
  void add_gauges(std::int64_t step, const adapter::Gauges& gauges);
  // Whether the evaluations so far end the run before its last step.
  bool ends_early() const;
  // The step of the lowest evaluation loss, where results are kept.
  const std::optional<BestSoFar>& best() const;

  // Whether a checkpoint is due once `step` steps are finished.
  bool is_due(std::int64_t step) const;
  void save_beside(std::int64_t step);
  // To be called before parameters change.
  void wait_for_copy() { writer_.wait_for_copy(); }
  // Writes a checkpoint before the run ends; where the disk is full, in the space that was set
  // apart for the result.
  void save(const Progress& progress);
  // `save` for when something failed after `steps` steps; says what came of it.
  std::string save_last(std::int64_t steps, const std::optional<StepMetrics>& unevaluated);

  // Writes what the run leaves, and says where and of which step into `result`.
  void write_result(TrainResult& result);

 private:
  // The model card of the result; metrics.jsonl is complete.
  std::string card() const;
  Progress with_best(Progress progress);
  void keep_if_best(const StepMetrics& metrics);

  const TrainSettings& settings_;
  Trainable& trainable_;
  TrainedState& state_;
  core::Reporter& reporter_;
  core::ConfigNode identity_;
  std::string evaluated_;  // the beginning of their fingerprint
  CheckpointWriter writer_;
  std::chrono::steady_clock::time_point saved_at_;  // when the last checkpoint was begun, or this
  std::optional<BestResult> best_;
  std::optional<core::ReservedSpace> room_;  // for the result
  std::optional<MetricsFile> metrics_;
  std::optional<EventFile> events_;  // where the settings ask for them
  bool metrics_failed_ = false;
  std::optional<StepMetrics> newest_;
};

}  // namespace corda::train
