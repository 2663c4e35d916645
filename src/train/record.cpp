// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/record.h"

#include <torch/version.h>

#include <algorithm>
#include <utility>

#include "corda/adapter/tuning.h"
#include "corda/card/card.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"
#include "train/run_directory.h"

namespace corda::train {

using core::concat;
using Clock = std::chrono::steady_clock;

namespace {

constexpr const char* kVersionsName = "versions.jsonl";
constexpr std::size_t kDataDigits = 12;  // tell the evaluation data of a run apart

// Writes down which program goes on with the run, a line for each process that did.
void add_version(const fs::path& run, std::int64_t finished_steps) {
  const fs::path path = run / kVersionsName;
  std::string lines;
  if (finished_steps > 0 && fs::exists(path)) lines = core::read_file(path);
  lines +=
      core::json_line(
          {{"after_step", finished_steps}, {"corda", CORDA_VERSION}, {"LibTorch", TORCH_VERSION}}) +
      "\n";
  core::write_file_atomic(path, lines);
}

}  // namespace

Record::Record(const Recorded& run, core::ConfigNode identity, const std::string& evaluated)
    : settings_(run.settings),
      trainable_(run.trainable),
      state_(run.state),
      reporter_(run.reporter),
      identity_(std::move(identity)),
      evaluated_(evaluated.substr(0, kDataDigits)),
      writer_(settings_.out, state_, identity_, settings_.checkpoint.keep, reporter_),
      saved_at_(Clock::now()) {
  if (keeps_best(settings_)) best_.emplace(settings_.out, evaluated);
}

bool keeps_best(const TrainSettings& settings) {
  return settings.checkpoint.best || settings.eval.patience > 0;
}

Progress Record::take_up(bool resume, std::int64_t total, const TrainSettings& resolved) {
  const fs::path run = settings_.out;
  if (resume) remove_leftovers(run);
  const auto checkpoint = latest_checkpoint(run);
  Progress before;
  if (resume && checkpoint) {
    before = restore_checkpoint(*checkpoint, state_, identity_);
    check_not_behind_end(*checkpoint, before.steps, total);
    reporter_.info(concat("resuming after step ", before.steps, " of ", total, " from ",
                          checkpoint->string()));
    if (best_ && before.best && !best_->restore(*before.best)) {
      reporter_.warn(concat("the evaluation loss of step ", before.best->step,
                            ", the lowest so far, is forgotten: other evaluation data are used, "
                            "or the result of that step is gone"));
    }
  } else if (resume) {
    reporter_.info(concat("--resume: '", run.string(),
                          "' holds nothing of a run yet; starting from the beginning"));
  }
  TrainSettings copy = resolved;
  core::write_file_atomic(run / kResolvedName, core::to_yaml(settings_of(copy).resolved()));
  return before;
}

void Record::begin(const Progress& before) {
  const fs::path run = settings_.out;
  room_.emplace(run / kReservedName, trainable_.saved_bytes());
  const std::int64_t written = before.steps - (before.unevaluated ? 1 : 0);
  metrics_.emplace(run / kMetricsName, written);
  remove_gauges_behind(run / kGaugesName, written);
  if (std::ranges::find(settings_.log, "tensorboard") != settings_.log.end())
    events_.emplace(run, written + 1);
  add_version(run, before.steps);
  saved_at_ = Clock::now();
}

void Record::add(const StepMetrics& step) {
  StepMetrics metrics = step;
  metrics.eval_data = evaluated_;
  const bool has_line = metrics_->append(metrics);
  const bool has_event = !events_ || events_->append(metrics);
  if (has_line && has_event) {
    metrics_failed_ = false;
  } else if (!std::exchange(metrics_failed_, true)) {
    reporter_.warn(concat(has_line ? events_->why() : metrics_->why(),
                          "; training goes on, and the lines are written once there is room"));
  }
  newest_ = metrics;
  if (metrics.eval_loss && best_) keep_if_best(metrics);
}

void Record::add_gauges(std::int64_t step, const adapter::Gauges& gauges) {
  try {
    write_gauges(fs::path(settings_.out) / kGaugesName, step, gauges);
  } catch (const core::ResourceError& error) {
    reporter_.warn(concat("the forgetting gauge of every layer is not written down (",
                          core::first_line(error.what()), "); training goes on"));
  }
}

void Record::keep_if_best(const StepMetrics& metrics) {
  try {
    best_->evaluated(metrics.step, *metrics.eval_loss, [&](const fs::path& directory) {
      state_.require_finite();
      trainable_.save(directory, state_, /*replace=*/true);
    });
  } catch (const core::ResourceError& error) {
    reporter_.warn(concat("the result of step ", metrics.step,
                          ", which has the lowest evaluation loss so far, is not kept (",
                          core::first_line(error.what()), "); training goes on"));
  }
}

bool Record::ends_early() const {
  return settings_.eval.patience > 0 && best_ && best_->now() &&
         best_->now()->worse >= settings_.eval.patience;
}

const std::optional<BestSoFar>& Record::best() const {
  static const std::optional<BestSoFar> none;
  return best_ ? best_->now() : none;
}

bool Record::is_due(std::int64_t step) const {
  if (settings_.checkpoint.every > 0 && step % settings_.checkpoint.every == 0) return true;
  const std::chrono::duration<double> since = Clock::now() - saved_at_;
  return settings_.checkpoint.minutes > 0 && !writer_.busy() &&
         since.count() >= 60 * settings_.checkpoint.minutes;
}

Progress Record::with_best(Progress progress) {
  if (!best_) return progress;
  progress.best = best_->now();
  best_->checkpointed();
  return progress;
}

void Record::save_beside(std::int64_t step) {
  state_.require_finite();
  writer_.begin(with_best({.steps = step}));
  saved_at_ = Clock::now();
}

void Record::save(const Progress& steps) {
  state_.require_finite();
  const Progress progress = with_best(steps);
  try {
    writer_.write(progress);
  } catch (const core::ResourceError&) {
    if (!room_) throw;
    room_->release();
    writer_.write(progress);
  }
}

std::string Record::save_last(std::int64_t steps, const std::optional<StepMetrics>& unevaluated) {
  try {
    save({.steps = steps, .unevaluated = unevaluated});
  } catch (const std::exception& error) {
    return concat("the state after step ", steps, " could not be saved (",
                  core::first_line(error.what()), ")");
  }
  return concat("the state after step ", steps, " is saved");
}

std::string Record::card() const {
  const bool full = settings_.method == "full";
  auto run = card::run_of(result_of(settings_));
  // What is kept is known here; the lines of metrics do not say what could not be kept.
  if (run && best_ && best_->now())
    run->evaluation = {.step = best_->now()->step, .loss = best_->now()->loss};
  return card::text_of(
      full ? card::Artifact::kModel : card::Artifact::kAdapter, card::base_of(settings_.model),
      full ? card::Tuning{.method = "full"} : adapter::tuning_of(trainable_.adapter()), run);
}

void Record::write_result(TrainResult& result) {
  writer_.finish();
  state_.require_finite();
  const fs::path output = result_of(settings_);
  room_->release();
  if (!metrics_->flush()) reporter_.warn(concat(metrics_->why(), "; its last lines are lost"));
  const auto but_saved = [&](const core::Error& error) {
    return concat(error.what(), "; ", save_last(result.steps, newest_));
  };
  try {
    if (best_ && best_->now()) {
      result.best_step = best_->now()->step;
      result.best_eval_loss = best_->now()->loss;
      best_->move_to(output, card());
      reporter_.info(concat("the result is that of step ", *result.best_step,
                            ", which has the lowest evaluation loss"));
    } else {
      trainable_.save(output, state_, /*replace=*/false, card());
    }
  } catch (const core::ResourceError& error) {
    throw core::ResourceError(but_saved(error));
  } catch (const core::NumericalError& error) {  // a weight that the file's type cannot hold
    throw core::NumericalError(but_saved(error));
  }
  result.output = output.string();
}

}  // namespace corda::train
