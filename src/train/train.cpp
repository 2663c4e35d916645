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
#include "train/checkpoint.h"
#include "train/device_batch.h"
#include "train/flops.h"
#include "train/memory_advice.h"
#include "train/metrics.h"
#include "train/run.h"
#include "train/step.h"
#include "train/trainable.h"

namespace corda::train {

using core::concat;
using Clock = std::chrono::steady_clock;

namespace {

// Independent random streams of one seed.
constexpr std::uint64_t kDataStream = 1;
constexpr std::uint64_t kDropoutStream = 2;

constexpr const char* kResolvedName = "config.resolved.yaml";
constexpr const char* kReservedName = "reserved-space";  // for the result

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::vector<const data::Sample*> pointers_to(const std::vector<data::Sample>& samples) {
  std::vector<const data::Sample*> result;
  for (const auto& sample : samples) result.push_back(&sample);
  return result;
}

// The directory that `data.cache` means; empty for memory.
fs::path cache_directory(const TrainSettings& settings, const std::vector<data::DataFile>& files) {
  constexpr std::uintmax_t kLarge = 256'000'000;
  if (settings.data.cache == "none") return {};
  if (settings.data.cache != "auto") return settings.data.cache;
  std::uintmax_t bytes = 0;
  for (const auto& file : files) {
    std::error_code ignored;
    const auto size = fs::file_size(file.path, ignored);
    if (!ignored) bytes += size;
  }
  return bytes < kLarge ? fs::path() : fs::path(settings.out) / "data-cache";
}

// What a run leaves when it is complete.
fs::path result_of(const TrainSettings& settings) {
  return fs::path(settings.out) / (settings.method == "full" ? "model" : "adapter");
}

// Throws ConfigError where the run directory holds another run than the one that is asked for.
void check_run_directory(const TrainSettings& settings, bool resume) {
  std::error_code error;
  for (const auto& [file, kind] : {std::pair{"config.json", "model"},
                                   {"adapter_config.json", "adapter"},
                                   {"manifest.json", "covariance"}}) {
    if (fs::exists(fs::path(settings.out) / file, error))
      throw core::ConfigError(concat("--out: '", settings.out, "' is a directory of a ", kind,
                                     " (it holds ", file, "); choose another one"));
  }
  if (fs::exists(result_of(settings), error)) {
    throw core::ConfigError(
        concat("'", settings.out, "' holds a finished run; choose another --out"));
  }
  if (!resume && fs::exists(fs::path(settings.out) / "metrics.jsonl", error)) {
    throw core::ConfigError(
        concat("'", settings.out,
               "' holds an unfinished run; continue it with --resume or choose another --out"));
  }
}

// The day that a run's templates show: of its start.
std::string date_of(const fs::path& run, bool resume) {
  const fs::path before = run / kResolvedName;
  std::error_code ignored;
  if (!resume || !fs::exists(before, ignored)) return data::today();
  TrainSettings settings;
  settings_of(settings).read(core::parse_yaml(core::read_file(before), before.string()));
  return settings.data.date.empty() ? data::today() : settings.data.date;
}

class Run {
 public:
  Run(const TrainSettings& settings, core::Reporter& reporter, const PassChooser& choose)
      : settings_(settings),
        reporter_(reporter),
        device_(linalg::device_of(settings.device)),
        tokenizer_(tokenizer::load_tokenizer(settings.model)),
        train_(load(settings.data.train)),
        eval_(settings.data.eval.empty() ? data::Dataset{} : load(settings.data.eval)),
        eval_batches_(packed({eval_.samples.begin(), eval_.samples.end()})),
        trainable_(settings, device_, reporter),
        optimizer_(trainable_.parameters(), {.beta1 = settings.optim.betas[0],
                                             .beta2 = settings.optim.betas[1],
                                             .eps = settings.optim.eps,
                                             .weight_decay = settings.optim.weight_decay}),
        sampler_(train_.samples.size(), settings.optim.batch_size,
                 core::derive_seed(static_cast<std::uint64_t>(settings.seed), kDataStream)) {
    model::warn_beyond_positions(trainable_.model().config, train_.counts.longest,
                                 concat("a sample of ", train_.counts.longest, " tokens"),
                                 reporter);
    trainable_.set_template(train_.template_used.name, train_.template_used.chat_template);
    const auto by_epochs = static_cast<std::int64_t>(
        std::ceil(settings.optim.epochs * static_cast<double>(sampler_.steps_per_epoch()) - 1e-9));
    total_ = settings.optim.max_steps > 0 ? settings.optim.max_steps
                                          : std::max<std::int64_t>(1, by_epochs);
    if (trainable_.model().compute != at::kFloat) peak_flops_ = linalg::peak_16bit_flops(device_);
    warmup_ = static_cast<std::int64_t>(
        std::ceil(settings.optim.warmup_ratio * static_cast<double>(total_) - 1e-9));
    largest_ = {
        .sample = train_.counts.longest,
        .micro_batch = largest_micro_batch(train_.counts.longest, settings.optim.batch_size),
        .evaluated = eval_.samples.empty()
                         ? 0
                         : largest_micro_batch(eval_.counts.longest, eval_.samples.size())};
    resolved_ = trainable_.resolve(settings);
    ChosenPass chosen = choose(resolved_, trainable_.model(), largest_, reporter);
    pass_ = std::move(chosen.pass);
    chosen.record_in(resolved_);
    identity_ = settings_of(resolved_).binding();
    identity_.entries.emplace_back("base fingerprint",
                                   core::ConfigNode::scalar(trainable_.base_fingerprint()));
    identity_.entries.emplace_back("adapter fingerprint",
                                   core::ConfigNode::scalar(trainable_.start_fingerprint()));
    identity_.entries.emplace_back("data fingerprint",
                                   core::ConfigNode::scalar(train_.samples.fingerprint()));
    if (warmup_ >= total_)
      reporter.warn(
          concat("all ", total_, " steps are warm-up; lower optim.warmup_ratio or train longer"));
  }

  TrainResult go(bool resume) {
    const fs::path run = settings_.out;
    const auto begin = Clock::now();
    core::throw_if_stopped(reporter_, "loading; nothing was written");
    const Progress before = prepare(run, resume);
    core::ReservedSpace room(run / kReservedName, trainable_.saved_bytes());
    MetricsFile metrics_file(run / "metrics.jsonl", before.steps - (before.unevaluated ? 1 : 0));
    TrainResult result;
    std::optional<StepMetrics> newest;
    const auto finish = [&](StepMetrics metrics) {
      if (evaluates_after(metrics.step)) {
        metrics.eval_loss =
            saving_before_memory_ends(metrics.step, metrics,
                                      {concat("in the evaluation after step ", metrics.step),
                                       eval_.counts.longest, largest_.evaluated},
                                      [&] { return evaluate(run, metrics); });
      }
      metrics_file.append(metrics);
      newest = metrics;
      if (metrics.eval_loss)
        reporter_.info(concat("step ", metrics.step, ": evaluation loss ", *metrics.eval_loss));
      result = {.steps = metrics.step,
                .loss = metrics.loss,
                .eval_loss = metrics.eval_loss,
                .output = {},
                .peak_memory_bytes = metrics.peak_memory_bytes};
    };
    reporter_.begin("train", total_, "step", before.steps);
    if (before.unevaluated) finish(*before.unevaluated);
    for (std::int64_t step = before.steps; step < total_; ++step) {
      StepMetrics metrics = take_step(step);
      metrics.peak_memory_bytes = linalg::peak_memory_bytes(device_);
      reporter_.advance(1, progress_note(metrics));
      finish(metrics);
      const bool last = step + 1 == total_;
      const bool due =
          settings_.checkpoint.every > 0 && (step + 1) % settings_.checkpoint.every == 0;
      const bool stop = !last && reporter_.stop_requested();
      if (!last && (due || stop)) save(run, step + 1);
      if (stop) interrupt(concat("after step ", step + 1));
    }
    reporter_.end();
    optimizer_.require_finite_parameters();
    const fs::path output = result_of(settings_);
    room.release();
    try {
      trainable_.save(output);
    } catch (const core::ResourceError& error) {
      throw core::ResourceError(concat(error.what(), "; ", save_alone(total_, newest)));
    }
    result.output = output.string();
    result.seconds = seconds_since(begin);
    return result;
  }

 private:
  data::Dataset load(const std::vector<data::DataFile>& files) {
    return data::load_samples(files, *tokenizer_,
                              {.template_name = settings_.data.template_name,
                               .model_directory = settings_.model,
                               .train_on = settings_.data.train_on,
                               .system = settings_.data.system,
                               .date = settings_.data.date,
                               .max_length = settings_.data.max_length,
                               .overlong = settings_.data.overlong,
                               .skip_bad = settings_.data.skip_bad,
                               .threads = settings_.threads,
                               .cache = cache_directory(settings_, files)},
                              reporter_);
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
      reporter_.info(concat("resuming after step ", before.steps, " of ", total_, " from ",
                            checkpoint->string()));
    } else if (resume) {
      reporter_.warn(concat("--resume: '", run.string(),
                            "' has no complete checkpoint; starting from the beginning"));
    }
    core::write_file_atomic(run / kResolvedName, core::to_yaml(settings_of(resolved_).resolved()));
    return before;
  }

  void save(const fs::path& run, std::int64_t steps,
            const std::optional<StepMetrics>& unevaluated = {}) {
    optimizer_.require_finite_parameters();
    save_checkpoint(run, steps, optimizer_, identity_, settings_.checkpoint.keep, unevaluated);
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
      save(settings_.out, steps, unevaluated);
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
      samples.push_back(train_.samples[index]);
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
    return !eval_.samples.empty() && (due || step == total_);
  }

  // The mean loss over the evaluation's targets, after the step of `metrics`. Asked to stop it
  // saves that step as not evaluated.
  double evaluate(const fs::path& run, const StepMetrics& metrics) {
    const at::NoGradGuard no_grad;
    double sum = 0;
    std::int64_t targets = 0;
    for (const data::PackedBatch& packed : eval_batches_) {
      if (reporter_.stop_requested()) {
        save(run, metrics.step, metrics);
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
  std::shared_ptr<const tokenizer::Tokenizer> tokenizer_;
  data::Dataset train_;
  data::Dataset eval_;
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
