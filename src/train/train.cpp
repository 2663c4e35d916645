// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/train/train.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <type_traits>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/random.h"
#include "corda/core/text.h"
#include "corda/data/batch.h"
#include "corda/data/load.h"
#include "corda/linalg/device.h"
#include "corda/linalg/out_of_memory.h"
#include "corda/model/forward.h"
#include "corda/train/optimizer.h"
#include "corda/train/schedule.h"
#include "core/reserved_space.h"
#include "train/best_result.h"
#include "train/checkpoint_writer.h"
#include "train/device_batch.h"
#include "train/flops.h"
#include "train/memory_advice.h"
#include "train/metrics.h"
#include "train/plan.h"
#include "train/run.h"
#include "train/run_data.h"
#include "train/run_directory.h"
#include "train/step.h"
#include "train/trainable.h"

namespace corda::train {

using core::concat;
using Clock = std::chrono::steady_clock;

namespace {

// Independent random streams of one seed.
constexpr std::uint64_t kDataStream = 1;
constexpr std::uint64_t kDropoutStream = 2;

constexpr const char* kReservedName = "reserved-space";  // for the result

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::vector<const data::Sample*> pointers_to(const std::vector<data::Sample>& samples) {
  std::vector<const data::Sample*> result;
  for (const auto& sample : samples) result.push_back(&sample);
  return result;
}

class Run {
 public:
  Run(const TrainSettings& settings, core::Reporter& reporter, const PassChooser& choose)
      : settings_(settings),
        reporter_(reporter),
        device_(linalg::device_of(settings.device)),
        data_(load_data(settings, DataCache::kAsSet, reporter)),
        eval_batches_(packed({data_.eval.samples.begin(), data_.eval.samples.end()})),
        trainable_(settings, device_, reporter),
        optimizer_(trainable_.parameters(), {.beta1 = settings.optim.betas[0],
                                             .beta2 = settings.optim.betas[1],
                                             .eps = settings.optim.eps,
                                             .weight_decay = settings.optim.weight_decay}),
        sampler_(data_.train.samples.size(), settings.optim.batch_size,
                 core::derive_seed(static_cast<std::uint64_t>(settings.seed), kDataStream),
                 data::mixture_of(settings.data.train, data_.train.file_samples)) {
    const data::EncodeCounts& counts = data_.train.counts;
    model::warn_beyond_positions(trainable_.model().config, counts.longest,
                                 concat("a sample of ", counts.longest, " tokens"), reporter);
    const data::TemplateUsed& used = data_.train.template_used;
    trainable_.set_template(used.name, used.chat_template);
    if (trainable_.model().compute != at::kFloat) peak_flops_ = linalg::peak_16bit_flops(device_);
    resolved_ = trainable_.resolve(settings);
    const TrainPlan plan = plan_of(resolved_, data_, trainable_, device_);
    for (const std::string& line : describe(plan)) reporter.info(line);
    warn_of_warmup(plan, reporter);
    total_ = plan.steps;
    warmup_ = plan.warmup_steps;
    largest_ = {.sample = counts.longest,
                .micro_batch = largest_micro_batch(counts.longest, settings.optim.batch_size),
                .evaluated = data_.eval.samples.empty()
                                 ? 0
                                 : largest_micro_batch(data_.eval.counts.longest,
                                                       data_.eval.samples.size())};
    if (device_.is_cuda()) warn_of_tuning_cache();
    ChosenPass chosen = choose(resolved_, trainable_.model(), largest_, reporter);
    pass_ = std::move(chosen.pass);
    chosen.record_in(resolved_);
    identity_ = identity_of(resolved_, data_, trainable_);
    writer_ = std::make_unique<CheckpointWriter>(settings.out, optimizer_, identity_,
                                                 settings.checkpoint.keep, reporter);
    if (keeps_best()) best_.emplace(settings.out, data_.eval.samples.fingerprint());
  }

  TrainResult go(bool resume) {
    const fs::path run = settings_.out;
    const auto begin = Clock::now();
    core::throw_if_stopped(reporter_, "loading; nothing was written");
    const Progress before = prepare(run, resume);
    room_.emplace(run / kReservedName, trainable_.saved_bytes());
    metrics_.emplace(run / kMetricsName, before.steps - (before.unevaluated ? 1 : 0));
    reporter_.begin("train", total_, "step", before.steps);
    result_.steps = before.steps;
    if (before.unevaluated) finish(*before.unevaluated);
    saved_at_ = Clock::now();
    for (std::int64_t step = before.steps; step < total_ && !ends_early(); ++step) {
      StepMetrics metrics = take_step(step);
      metrics.peak_memory_bytes = linalg::peak_memory_bytes(device_);
      reporter_.advance(1, progress_note(metrics));
      finish(metrics);
      const bool last = step + 1 == total_ || ends_early();
      if (!last && reporter_.stop_requested()) {
        save({.steps = step + 1});
        interrupt(concat("after step ", step + 1));
      }
      if (!last && is_due(step + 1)) save_beside(step + 1);
    }
    reporter_.end();
    writer_->finish();
    write_result();
    result_.seconds = seconds_since(begin);
    return result_;
  }

 private:
  // It only saves time, so a run does without it.
  void warn_of_tuning_cache() {
    const std::string& directory = settings_.tuning_cache;
    if (directory == "auto" || directory == "none") return;
    try {
      check_writable(directory);
    } catch (const core::ResourceError& error) {
      reporter_.warn(concat("tuning_cache: ", error.what(),
                            "; algorithms of matrix products are tried anew in every run"));
    }
  }

  bool keeps_best() const { return settings_.checkpoint.best || settings_.eval.patience > 0; }

  // Whether the evaluations so far end the run before its last step.
  bool ends_early() const {
    return settings_.eval.patience > 0 && best_ && best_->now() &&
           best_->now()->worse >= settings_.eval.patience;
  }

  // What follows a step: its evaluation where one is due, and its line of metrics.
  void finish(StepMetrics metrics) {
    if (evaluates_after(metrics.step)) {
      metrics.eval_loss =
          saving_before_memory_ends(metrics.step, metrics,
                                    {concat("in the evaluation after step ", metrics.step),
                                     data_.eval.counts.longest, largest_.evaluated},
                                    [&] { return evaluate(metrics); });
    }
    if (metrics_->append(metrics)) {
      metrics_failed_ = false;
    } else if (!std::exchange(metrics_failed_, true)) {
      reporter_.warn(concat(metrics_->why(),
                            "; training goes on, and the lines are written once there is room"));
    }
    newest_ = metrics;
    result_.steps = metrics.step;
    result_.loss = metrics.loss;
    result_.eval_loss = metrics.eval_loss;
    result_.peak_memory_bytes = metrics.peak_memory_bytes;
    if (!metrics.eval_loss) return;
    reporter_.info(concat("step ", metrics.step, ": evaluation loss ", *metrics.eval_loss));
    if (!best_) return;
    try {
      best_->evaluated(metrics.step, *metrics.eval_loss, [&](const fs::path& directory) {
        optimizer_.require_finite_parameters();
        trainable_.save(directory, /*replace=*/true);
      });
    } catch (const core::ResourceError& error) {
      reporter_.warn(concat("the result of step ", metrics.step,
                            ", which has the lowest evaluation loss so far, is not kept (",
                            core::first_line(error.what()), "); training goes on"));
    }
    if (ends_early() && metrics.step < total_) {
      reporter_.info(concat("ending after step ", metrics.step, " of ", total_, ": ",
                            settings_.eval.patience,
                            " evaluations without a loss below that of step ", best_->now()->step));
    }
  }

  bool is_due(std::int64_t step) const {
    if (settings_.checkpoint.every > 0 && step % settings_.checkpoint.every == 0) return true;
    return settings_.checkpoint.minutes > 0 && !writer_->busy() &&
           seconds_since(saved_at_) >= 60 * settings_.checkpoint.minutes;
  }

  void save_beside(std::int64_t step) {
    optimizer_.require_finite_parameters();
    writer_->begin(with_best({.steps = step}));
    saved_at_ = Clock::now();
  }

  void write_result() {
    optimizer_.require_finite_parameters();
    const fs::path output = result_of(settings_);
    room_->release();
    if (!metrics_->flush()) reporter_.warn(concat(metrics_->why(), "; its last lines are lost"));
    try {
      if (best_ && best_->now()) {
        result_.best_step = best_->now()->step;
        result_.best_eval_loss = best_->now()->loss;
        best_->move_to(output);
        reporter_.info(concat("the result is that of step ", *result_.best_step,
                              ", which has the lowest evaluation loss"));
      } else {
        trainable_.save(output);
      }
    } catch (const core::ResourceError& error) {
      throw core::ResourceError(concat(error.what(), "; ", save_alone(result_.steps, newest_)));
    } catch (const core::NumericalError& error) {  // a weight that the file's type cannot hold
      throw core::NumericalError(concat(error.what(), "; ", save_alone(result_.steps, newest_)));
    }
    result_.output = output.string();
  }

  // Tokens of the largest micro-batch that can come, of at most `samples` samples.
  std::int64_t largest_micro_batch(std::int64_t longest, std::int64_t samples) const {
    const std::int64_t packed = settings_.data.packing ? settings_.optim.micro_batch_tokens : 0;
    return std::max(longest, std::min(packed, longest * samples));
  }

  // Takes up the run directory; returns what is already done.
  Progress prepare(const fs::path& run, bool resume) {
    if (resume) remove_leftovers(run);
    const auto checkpoint = latest_checkpoint(run);
    Progress before;
    if (resume && checkpoint) {
      before = restore_checkpoint(*checkpoint, optimizer_, identity_);
      if (before.steps > total_) {
        throw core::ConfigError(concat("--resume: '", checkpoint->string(), "' is of step ",
                                       before.steps, ", and the settings end the run after step ",
                                       total_, "; raise optim.epochs or optim.max_steps"));
      }
      reporter_.info(concat("resuming after step ", before.steps, " of ", total_, " from ",
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
    core::write_file_atomic(run / kResolvedName, core::to_yaml(settings_of(resolved_).resolved()));
    return before;
  }

  Progress with_best(Progress progress) {
    if (!best_) return progress;
    progress.best = best_->now();
    best_->checkpointed();
    return progress;
  }

  // Before the run ends; where the disk is full, in the space that was set apart for the result.
  void save(const Progress& steps) {
    optimizer_.require_finite_parameters();
    const Progress progress = with_best(steps);
    try {
      writer_->write(progress);
    } catch (const core::ResourceError&) {
      if (!room_) throw;
      room_->release();
      writer_->write(progress);
    }
  }

  [[noreturn]] void interrupt(const std::string& where) {
    reporter_.end();
    throw core::Interrupted(
        concat("interrupted ", where, " of ", total_, "; saved, continue with --resume"));
  }

  // Work on forward passes: where, for messages, and tokens of its longest sample and largest pass.
  struct Passes {
    std::string where;
    std::int64_t sample = 0;
    std::int64_t batch = 0;
  };

  // Does `work`, which leaves parameters and moments as they are after `steps` steps; where
  // memory runs out in it, that state is saved.
  template <typename Work>
  std::invoke_result_t<Work> saving_before_memory_ends(
      std::int64_t steps, const std::optional<StepMetrics>& unevaluated, const Passes& passes,
      Work work) {
    try {
      return work();
    } catch (const std::exception& error) {
      const auto out = linalg::out_of_memory(error);
      if (!out) throw;
      reporter_.end();
      throw core::ResourceError(concat(
          out->memory, " ran out ", passes.where, ", in micro-batches of up to ", passes.batch,
          " tokens; ", save_alone(steps, unevaluated), "; ",
          memory_advice(resolved_, device_, passes.sample, passes.batch), " (", out->detail, ")"));
    }
  }

  // Saves with the memory of gradients and activations given back; says what came of it. No step
  // can follow.
  std::string save_alone(std::int64_t steps, const std::optional<StepMetrics>& unevaluated) {
    if (steps == 0) return "no step was finished";
    optimizer_.clear_gradients();
    pass_.reset();
    try {
      save({.steps = steps, .unevaluated = unevaluated});
    } catch (const std::exception& error) {
      return concat("the state after step ", steps, " could not be saved (",
                    core::first_line(error.what()), ")");
    }
    return concat("the state after step ", steps, " is saved");
  }

  StepMetrics take_step(std::int64_t step) {
    const auto begin = Clock::now();
    StepMetrics metrics{
        .step = step + 1,
        .lr = learning_rate(settings_.optim.schedule, settings_.optim.lr, step, warmup_, total_),
        .eval_loss = {}};
    std::vector<data::PackedBatch> micro_batches;
    const StepGradients result = saving_before_memory_ends(
        step, {}, {concat("in step ", step + 1), largest_.sample, largest_.micro_batch}, [&] {
          micro_batches =
              prepared_ ? *std::exchange(prepared_, std::nullopt) : micro_batches_of(step);
          return gradients_of(step, micro_batches);
        });
    writer_->wait_for_copy();
    const at::Tensor norm = optimizer_.step(metrics.lr, settings_.optim.grad_clip);
    optimizer_.clear_gradients();
    if (step + 1 < total_) prepare_batches(step + 1);  // while the GPU works
    metrics.tokens = result.tokens;
    metrics.supervised_tokens = result.supervised_tokens;
    metrics.loss = result.loss();  // the GPU is waited for here
    metrics.grad_norm = norm.item<double>();
    require_finite(metrics);
    metrics.epoch = static_cast<double>(step + 1) / static_cast<double>(sampler_.steps_per_epoch());
    const double seconds = seconds_since(begin);
    metrics.tokens_per_second = static_cast<double>(metrics.tokens) / seconds;
    if (peak_flops_ > 0) {
      metrics.utilisation = flops_of_step(trainable_.model(), static_cast<double>(metrics.tokens),
                                          static_cast<double>(metrics.supervised_tokens),
                                          static_cast<double>(micro_batches.size())) /
                            seconds / peak_flops_;
    }
    return metrics;
  }

  void prepare_batches(std::int64_t step) {
    try {
      prepared_ = micro_batches_of(step);
    } catch (const std::exception&) {  // this step still counts; the next will meet it again
      prepared_.reset();
    }
  }

  std::vector<data::PackedBatch> micro_batches_of(std::int64_t step) {
    std::vector<data::Sample> samples;
    for (const std::int64_t index : sampler_.indices_of(step))
      samples.push_back(data_.train.samples[index]);
    return packed(samples);
  }

  std::vector<data::PackedBatch> packed(const std::vector<data::Sample>& samples) const {
    return data::make_micro_batches(pointers_to(samples), settings_.optim.micro_batch_tokens,
                                    settings_.data.packing);
  }

  StepGradients gradients_of(std::int64_t step,
                             const std::vector<data::PackedBatch>& micro_batches) {
    const std::uint64_t dropout =
        core::derive_seed(static_cast<std::uint64_t>(settings_.seed), kDropoutStream);
    return accumulate_gradients(*pass_, micro_batches,
                                core::derive_seed(dropout, static_cast<std::uint64_t>(step)));
  }

  static void require_finite(const StepMetrics& metrics) {
    if (std::isfinite(metrics.loss) && std::isfinite(metrics.grad_norm)) return;
    if (metrics.step == 1 && !std::isfinite(metrics.loss)) {
      throw core::NumericalError(
          "step 1: the loss is not finite before anything was trained; the base model or the "
          "adapter holds values that are not finite, or overflows in this precision");
    }
    throw core::NumericalError(concat(
        "step ", metrics.step, ": the loss is ", metrics.loss, " and its gradient norm ",
        metrics.grad_norm, "; start again with a lower optim.lr or a larger optim.warmup_ratio"));
  }

  bool evaluates_after(std::int64_t step) const {
    const bool due = settings_.eval.every > 0 && step % settings_.eval.every == 0;
    return !data_.eval.samples.empty() && (due || step == total_);
  }

  // The mean loss over the evaluation's targets, after the step of `metrics`. Asked to stop it
  // saves that step as not evaluated.
  double evaluate(const StepMetrics& metrics) {
    const at::NoGradGuard no_grad;
    double sum = 0;
    std::int64_t targets = 0;
    for (const data::PackedBatch& packed : eval_batches_) {
      if (reporter_.stop_requested()) {
        save({.steps = metrics.step, .unevaluated = metrics});
        interrupt(concat("in the evaluation after step ", metrics.step));
      }
      if (packed.targets() == 0) continue;
      sum +=
          model::loss_sum(trainable_.model(), to_device(packed, trainable_.model())).item<double>();
      targets += packed.targets();
    }
    const double loss = sum / static_cast<double>(targets);
    if (!std::isfinite(loss)) {
      throw core::NumericalError(concat("the evaluation loss after step ", metrics.step,
                                        " is not finite (", loss,
                                        "); start again with a lower optim.lr"));
    }
    return loss;
  }

  const TrainSettings& settings_;
  core::Reporter& reporter_;
  at::Device device_;
  RunData data_;
  std::vector<data::PackedBatch> eval_batches_;  // the same in every evaluation
  Trainable trainable_;
  AdamW optimizer_;
  std::unique_ptr<GradientPass> pass_;
  data::EpochSampler sampler_;
  std::optional<std::vector<data::PackedBatch>> prepared_;  // of the next step
  std::int64_t total_ = 0;
  std::int64_t warmup_ = 0;
  double peak_flops_ = 0;  // of the GPU, where the run computes in 16 bits
  LargestBatches largest_;
  TrainSettings resolved_;     // with what auto became
  core::ConfigNode identity_;  // what a continuation must share
  std::unique_ptr<CheckpointWriter> writer_;
  Clock::time_point saved_at_;  // when the last checkpoint was begun, or the steps
  std::optional<BestResult> best_;
  std::optional<core::ReservedSpace> room_;  // for the result
  std::optional<MetricsFile> metrics_;
  bool metrics_failed_ = false;
  std::optional<StepMetrics> newest_;
  TrainResult result_;
};

}  // namespace

TrainResult run(const TrainSettings& given, bool resume, core::Reporter& reporter,
                const PassChooser& choose) {
  TrainSettings settings = given;
  settings_of(settings).check_values();
  check(settings);
  const core::DirectoryLock lock(settings.out, settings.out);
  check_run_directory(settings, resume);
  if (settings.data.date.empty()) settings.data.date = date_of(settings.out, resume);
  linalg::set_threads(settings.threads);
  try {
    return Run(settings, reporter, choose).go(resume);
  } catch (const std::exception& error) {  // of weights, moments and gradients
    const auto out = linalg::out_of_memory(error);
    if (!out) throw;
    throw core::ResourceError(concat(
        out->memory,
        " does not hold the model with what is trained; use a device with more free "
        "memory, or start anew with a smaller lora.rank, precision bf16 or, in place of method "
        "full, lora (",
        out->detail, ")"));
  }
}

TrainResult train(const TrainSettings& settings, bool resume, core::Reporter& reporter) {
  return run(settings, resume, reporter, choose_pass);
}

}  // namespace corda::train
