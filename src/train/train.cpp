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
#include "corda/dist/world.h"
#include "corda/linalg/device.h"
#include "corda/linalg/out_of_memory.h"
#include "corda/linalg/warm_up.h"
#include "corda/model/forward.h"
#include "corda/train/optimizer.h"
#include "corda/train/schedule.h"
#include "train/agreement.h"
#include "train/device_batch.h"
#include "train/flops.h"
#include "train/gauge.h"
#include "train/gradient_sums.h"
#include "train/memory_advice.h"
#include "train/metrics.h"
#include "train/plan.h"
#include "train/record.h"
#include "train/rehearsal.h"
#include "train/room.h"
#include "train/run.h"
#include "train/run_data.h"
#include "train/run_directory.h"
#include "train/sharded_base.h"
#include "train/sharded_pass.h"
#include "train/shared_passes.h"
#include "train/step.h"
#include "train/trainable.h"
#include "train/trained_state.h"

namespace corda::train {

using core::concat;
using Clock = std::chrono::steady_clock;

namespace {

// Independent random streams of one seed.
constexpr std::uint64_t kDataStream = 1;
constexpr std::uint64_t kDropoutStream = 2;

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
  // The warm-up of the device is waited for once everything is loaded.
  Run(const TrainSettings& settings, const RunEnvironment& environment, at::Device device,
      std::unique_ptr<linalg::WarmUp> warm_up)
      : settings_(settings),
        reporter_(environment.reporter),
        world_(environment.world),
        device_(device),
        warm_up_(std::move(warm_up)),
        data_(load_data(settings, DataCache::kAsSet, reporter_, world_)),
        trainable_(settings, device_, reporter_, Values::kLoaded, world_),
        optimizer_(
            trainable_.parameters(),
            {.beta1 = settings.optim.betas[0],
             .beta2 = settings.optim.betas[1],
             .eps = settings.optim.eps,
             .weight_decay = weight_decay_of(settings, step_counts(settings, data_.epoch.samples))},
            lora_plus_factors(trainable_.parameters(), settings.optim.lora_plus_ratio)),
        sharded_(trainable_.sharded()),
        state_(sharded_ != nullptr ? split_state(optimizer_, *sharded_, world_)
                                   : whole_state(optimizer_, world_.is_first())),
        sampler_(data_.epoch.samples, settings.optim.batch_size,
                 core::derive_seed(static_cast<std::uint64_t>(settings.seed), kDataStream),
                 data_.epoch.parts) {
    warm_up_.reset();                    // with its thread's handles and their memory
    linalg::reset_peak_memory(device_);  // what was rehearsed is no part of the run
    trainable_.model().entropy_power = settings.loss.power();
    const data::EncodeCounts& counts = data_.train.counts;
    const data::TemplateUsed& used = data_.train.template_used;
    trainable_.set_template(used.name, used.chat_template);
    shares_passes_ = sharded_ != nullptr || is_sharded(trainable_.model());
    if (trainable_.model().compute != at::kFloat) peak_flops_ = linalg::peak_16bit_flops(device_);
    resolved_ = trainable_.resolve(settings);
    const TrainPlan plan = plan_of(resolved_, data_, trainable_, device_, world_.size());
    for (const std::string& line : describe(plan)) reporter_.info(line);
    if (!world_.is_alone()) {
      reporter_.info(concat(world_.size(), " ranks, ", world_.local_size(),
                            " of them on this machine, share the samples of each step"));
    }
    warn_of(plan, trainable_.model().config, reporter_);
    total_ = plan.steps;
    warmup_ = plan.warmup_steps;
    largest_ = {.sample = counts.longest,
                .micro_batch = largest_micro_batch(counts.longest, settings.optim.batch_size),
                .evaluated = data_.eval.samples.empty()
                                 ? 0
                                 : largest_micro_batch(data_.eval.counts.longest,
                                                       data_.eval.samples.size())};
    if (device_.is_cuda()) warn_of_tuning_cache();
    take_up_gauge();
    dist::require_same_job(world_, content_of(identity_of(resolved_, data_, trainable_), data_));
    ChosenPass chosen =
        environment.choose(resolved_, trainable_.model(), largest_, reporter_, sharded_);
    pass_ = std::move(chosen.pass);
    chosen.record_in(resolved_);
    if (!world_.is_alone() && sharded_ == nullptr)
      sums_.emplace(world_, *pass_, optimizer_.parameters());
    result_.state_bytes = most_state_bytes(plan);
    eval_batches_ = own_evaluation();
    if (!world_.is_first()) return;
    record_ = std::make_unique<Record>(Recorded{settings_, trainable_, *state_, reporter_},
                                       identity_of(resolved_, data_, trainable_),
                                       data_.eval.samples.fingerprint());
  }

  TrainResult go(bool resume) {
    const auto begin = Clock::now();
    core::throw_if_stopped(reporter_, "loading; nothing was written");
    const Progress before = take_up(resume);
    reporter_.begin("train", total_, "step", before.steps);
    result_.steps = before.steps;
    if (before.unevaluated) finish(*before.unevaluated);
    for (std::int64_t step = before.steps; step < total_ && !ends_; ++step) {
      StepMetrics metrics = take_step(step);
      reporter_.advance(1, progress_note(metrics));
      finish(metrics);
      if (step + 1 == total_ || ends_) continue;
      if (world_.is_alone() ? reporter_.stop_requested() : stops_)
        interrupt({.steps = step + 1}, concat("after step ", step + 1));
      if (is_due_) state_->by_first([&] { record_->save_beside(step + 1); });
    }
    reporter_.end();
    state_->by_first([&] { record_->write_result(result_); });
    world_.barrier();  // nobody says it is done before the result is there
    result_.seconds = seconds_since(begin);
    return result_;
  }

 private:
  // Rank 0 reads the gauge; where it shares out the decay every rank must know how.
  void take_up_gauge() {
    const bool by_knowledge = settings_.optim.decay_metric == "knowledge";
    if (settings_.gauge.covariance.empty() || (!world_.is_first() && !by_knowledge)) return;
    gauge_.emplace(settings_.gauge.covariance, trainable_);
    if (!by_knowledge) return;
    const auto columns = gauge_->decay_columns();
    if (!world_.is_alone())
      for (const auto& [name, column] : columns) world_.broadcast(column, 0);
    optimizer_.set_decay_columns(columns);
  }

  // Counted where it is split, planned where it is not.
  std::int64_t most_state_bytes(const TrainPlan& plan) {
    if (sharded_ == nullptr) return plan.state_bytes;
    std::int64_t bytes = sharded_->bytes();
    for (const auto& [name, tensor] : optimizer_.state())
      if (tensor.dim() > 0) bytes += static_cast<std::int64_t>(tensor.nbytes());
    for (const std::string& other : world_.gather(concat(bytes)))
      bytes = std::max<std::int64_t>(bytes, core::parse_int(other).value_or(0));
    return bytes;
  }

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

  // Takes up the run directory; every rank begins with what rank 0 has.
  Progress take_up(bool resume) {
    Progress before;
    state_->by_first([&] {
      before = record_->take_up(resume, total_, resolved_);
      record_->begin(before);
    });
    if (world_.is_alone()) return before;
    core::Json shared = {{"steps", before.steps}};
    if (before.unevaluated) shared["unevaluated"] = to_json(*before.unevaluated);
    const core::Json told = core::parse_json(world_.shared(shared.dump()), "rank 0");
    const core::Fields fields(told, "rank 0");
    before.steps = fields.integer("steps");
    if (told.contains("unevaluated"))
      before.unevaluated = metrics_from_json(core::Fields(told["unevaluated"], "rank 0"));
    const at::NoGradGuard no_grad;
    if (state_->is_split()) return before;  // each has what is its own
    if (before.steps > 0) {
      const StateTensors state = state_->tensors();
      for (std::size_t i = 0; i < state.entries.size(); ++i) world_.broadcast(state.value(i), 0);
    } else if (!trainable_.is_full()) {  // a whole model was read from the same files
      for (const auto& [name, tensor] : optimizer_.parameters())
        world_.broadcast(tensor.detach(), 0);
    }
    return before;
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
    if (record_ && gauge_ && reads_gauge_after(metrics.step)) read_gauge(metrics);
    if (metrics.eval_loss && keeps_best(settings_)) {
      state_->by_first([&] { record_->add(metrics); });
    } else if (record_) {
      record_->add(metrics);
    }
    result_.steps = metrics.step;
    result_.loss = metrics.loss;
    result_.eval_loss = metrics.eval_loss;
    result_.peak_memory_bytes = metrics.peak_memory_bytes;
    if (!metrics.eval_loss) return;
    reporter_.info(concat("step ", metrics.step, ": evaluation loss ", *metrics.eval_loss));
    if (settings_.eval.patience > 0) ends_ = world_.any(record_ && record_->ends_early());
    if (ends_ && metrics.step < total_ && record_) {
      reporter_.info(
          concat("ending after step ", metrics.step, " of ", total_, ": ", settings_.eval.patience,
                 " evaluations without a loss below that of step ", record_->best()->step));
    }
  }

  void read_gauge(StepMetrics& metrics) {
    const std::optional<adapter::Gauges> gauges = gauge_->read(reporter_);
    result_.forgetting = std::nullopt;
    if (!gauges) return;
    metrics.forgetting = result_.forgetting = gauges->in_all;
    for (const auto& [kind, facts] : gauges->kinds) metrics.forgetting_by_kind[kind] = facts.gauge;
    record_->add_gauges(metrics.step, *gauges);
    reporter_.info(concat("step ", metrics.step, ": forgetting gauge ", gauges->in_all));
  }

  // Tokens of the largest micro-batch that can come, of at most `samples` samples.
  std::int64_t largest_micro_batch(std::int64_t longest, std::int64_t samples) const {
    const std::int64_t packed = settings_.data.packing ? settings_.optim.micro_batch_tokens : 0;
    return std::max(longest, std::min(packed, longest * samples));
  }

  // Saves and ends the run, on every rank.
  [[noreturn]] void interrupt(const Progress& progress, const std::string& where) {
    reporter_.end();
    state_->by_first([&] { record_->save(progress); });
    world_.barrier();  // nobody may end while rank 0 still saves
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
    } catch (const dist::PeerLost& error) {
      reporter_.end();
      if (!record_) throw;
      throw dist::PeerLost(error.code(),
                           concat(error.what(), "; ", save_alone(steps, unevaluated)));
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
    if (state_->is_split())
      return "what is split over the ranks cannot be saved without them, so the last checkpoint "
             "is what --resume goes on from";
    optimizer_.clear_gradients();
    sums_.reset();
    pass_.reset();
    return record_ ? record_->save_last(steps, unevaluated) : "rank 0 saves";
  }

  StepMetrics take_step(std::int64_t step) {
    const auto begin = Clock::now();
    StepMetrics metrics{
        .step = step + 1,
        .lr = learning_rate(settings_.optim.schedule, settings_.optim.lr, step, warmup_, total_),
        .eval_loss = {}};
    StepBatches batches;
    StepGradients result;
    Agreement agreement(world_, device_);
    saving_before_memory_ends(
        step, {}, {concat("in step ", step + 1), largest_.sample, largest_.micro_batch}, [&] {
          batches = prepared_ ? *std::exchange(prepared_, std::nullopt) : batches_of(step);
          result = gradients_of(step, batches);
          agreement.begin(result.loss_sum, reporter_.stop_requested(),
                          record_ && record_->is_due(step + 1), linalg::peak_memory_bytes(device_));
        });
    if (record_) record_->wait_for_copy();
    SumOverRanks sum;
    if (sharded_ != nullptr) sum = [this](const at::Tensor& t) { world_.sum(t.view({1})); };
    const at::Tensor norm = optimizer_.step(metrics.lr, settings_.optim.grad_clip, sum);
    optimizer_.clear_gradients();
    if (step + 1 < total_) prepare_batches(step + 1);  // while the GPU works
    metrics.tokens = result.tokens;
    metrics.supervised_tokens = result.supervised_tokens;
    const Agreed agreed = agreement.read();  // the GPU is waited for here
    metrics.loss = agreed.loss_sum / static_cast<double>(result.supervised_tokens);
    metrics.grad_norm = norm.item<double>();
    world_.check();
    require_finite(metrics);
    stops_ = agreed.stop;
    is_due_ = agreed.due;
    metrics.peak_memory_bytes =
        world_.is_alone() ? linalg::peak_memory_bytes(device_) : agreed.peak_memory_bytes;
    metrics.epoch = static_cast<double>(step + 1) / static_cast<double>(sampler_.steps_per_epoch());
    const double seconds = seconds_since(begin);
    metrics.tokens_per_second = static_cast<double>(metrics.tokens) / seconds;
    if (peak_flops_ > 0) {
      metrics.utilisation = flops_of_step(trainable_.model(), static_cast<double>(metrics.tokens),
                                          static_cast<double>(metrics.supervised_tokens),
                                          static_cast<double>(batches.own.size()) * world_.size()) /
                            seconds / (peak_flops_ * world_.size());
    }
    return metrics;
  }

  void prepare_batches(std::int64_t step) {
    try {
      prepared_ = batches_of(step);
    } catch (const std::exception&) {  // this step still counts; the next will meet it again
      prepared_.reset();
    }
  }

  // This rank's part of a step's samples, which are the same for any number of ranks.
  StepBatches batches_of(std::int64_t step) {
    std::vector<data::Sample> samples;
    std::vector<std::int64_t> sizes;
    StepBatches all;
    for (const std::int64_t index : sampler_.indices_of(step)) {
      samples.push_back(data_.train.samples[index]);
      sizes.push_back(static_cast<std::int64_t>(samples.back().ids.size()));
      all.tokens += sizes.back();
      all.supervised_tokens += data::targets_of(samples.back());
    }
    std::vector<data::Sample> own;
    if (shares_passes_) {
      all.passes = most_passes(samples, settings_, world_.size());
      all.filler = filler_of(samples);
    }
    for (const std::size_t i : data::share_of(sizes, world_.rank(), world_.size()))
      own.push_back(std::move(samples[i]));
    all.own = packed(own);
    return all;
  }

  std::vector<data::PackedBatch> packed(const std::vector<data::Sample>& samples) const {
    return data::make_micro_batches(pointers_to(samples), settings_.optim.micro_batch_tokens,
                                    settings_.data.packing);
  }

  // This rank's part of the samples that every evaluation is of.
  std::vector<data::PackedBatch> own_evaluation() {
    auto all = packed({data_.eval.samples.begin(), data_.eval.samples.end()});
    std::erase_if(all, [](const data::PackedBatch& batch) { return batch.targets() == 0; });
    std::vector<std::int64_t> sizes;
    for (const auto& batch : all) sizes.push_back(batch.tokens());
    std::vector<data::PackedBatch> own;
    for (const std::size_t i : data::share_of(sizes, world_.rank(), world_.size()))
      own.push_back(all[i]);
    if (shares_passes_) {
      std::size_t most = 0;
      for (int rank = 0; rank < world_.size(); ++rank)
        most = std::max(most, data::share_of(sizes, rank, world_.size()).size());
      eval_filler_ = filler_of({data_.eval.samples.begin(), data_.eval.samples.end()});
      eval_passes_for_others_ = most - own.size();
    }
    return own;
  }

  StepGradients gradients_of(std::int64_t step, const StepBatches& batches) {
    const std::uint64_t dropout =
        core::derive_seed(static_cast<std::uint64_t>(settings_.seed), kDropoutStream);
    std::uint64_t seed = core::derive_seed(dropout, static_cast<std::uint64_t>(step));
    // Other masks on other ranks.
    if (world_.rank() > 0)
      seed = core::derive_seed(seed, static_cast<std::uint64_t>(world_.rank()));
    return accumulate_gradients(*pass_, batches, seed, sums_ ? &*sums_ : nullptr);
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

  bool reads_gauge_after(std::int64_t step) const {
    const std::int64_t every =
        settings_.gauge.every > 0 ? settings_.gauge.every : settings_.eval.every;
    return step == total_ || (every > 0 && step % every == 0);
  }

  // The mean loss over the evaluation's targets, after the step of `metrics`. Asked to stop it
  // saves that step as not evaluated.
  double evaluate(const StepMetrics& metrics) {
    const at::NoGradGuard no_grad;
    double sum = 0;
    std::int64_t targets = 0;
    bool stopped = false;
    const auto loss_of = [&](const data::PackedBatch& batch) {
      const model::Model& model = trainable_.model();
      const model::Batch rows = to_device(batch, model);
      const at::Tensor loss = sharded_ != nullptr ? sharded_loss_sum(model, *sharded_, rows)
                                                  : model::loss_sum(model, rows);
      return loss.item<double>();
    };
    for (const data::PackedBatch& batch : eval_batches_) {
      stopped = reporter_.stop_requested();
      // Others wait for the passes of one that shares its base with them.
      if (stopped && !shares_passes_) break;
      sum += loss_of(batch);
      targets += batch.targets();
    }
    for (std::size_t i = 0; i < eval_passes_for_others_; ++i) loss_of(eval_filler_);
    const at::Tensor all =
        at::tensor({sum, static_cast<double>(targets), stopped ? 1.0 : 0.0}, at::kDouble)
            .to(device_);
    world_.sum(all);
    const at::Tensor host = all.cpu();
    const auto values = host.accessor<double, 1>();
    if (values[2] > 0) {
      interrupt({.steps = metrics.step, .unevaluated = metrics},
                concat("in the evaluation after step ", metrics.step));
    }
    const double loss = values[0] / values[1];
    if (!std::isfinite(loss)) {
      throw core::NumericalError(concat("the evaluation loss after step ", metrics.step,
                                        " is not finite (", loss,
                                        "); start again with a lower optim.lr"));
    }
    return loss;
  }

  const TrainSettings& settings_;
  core::Reporter& reporter_;
  dist::World& world_;
  at::Device device_;
  std::unique_ptr<linalg::WarmUp> warm_up_;
  RunData data_;
  std::vector<data::PackedBatch> eval_batches_;  // the same in every evaluation
  std::size_t eval_passes_for_others_ = 0;
  data::PackedBatch eval_filler_;
  Trainable trainable_;
  AdamW optimizer_;
  ShardedParameters* sharded_;  // the trainable's, or null
  std::unique_ptr<TrainedState> state_;
  std::unique_ptr<GradientPass> pass_;
  std::optional<GradientSums> sums_;  // where there are several ranks
  data::EpochSampler sampler_;
  std::optional<StepBatches> prepared_;  // of the next step
  std::int64_t total_ = 0;
  std::int64_t warmup_ = 0;
  double peak_flops_ = 0;       // of the GPU, where the run computes in 16 bits
  bool shares_passes_ = false;  // ranks make equally many, for blocks that they have parts of
  LargestBatches largest_;
  TrainSettings resolved_;          // with what auto became
  std::unique_ptr<Record> record_;  // of rank 0
  std::optional<Gauge> gauge_;      // where one is wanted
  // What all ranks agreed on in the last step.
  bool stops_ = false;
  bool is_due_ = false;
  bool ends_ = false;  // early, by its evaluations
  TrainResult result_;
};

}  // namespace

TrainResult run(const TrainSettings& given, bool resume, const RunEnvironment& environment) {
  TrainSettings settings = given;
  settings_of(settings).check_values();
  check(settings);
  dist::World& world = environment.world;
  std::optional<core::DirectoryLock> lock;
  if (world.is_first()) {
    lock.emplace(settings.out, settings.out);
    check_run_directory(settings, resume);
    if (settings.data.date.empty()) settings.data.date = date_of(settings.out, resume);
  }
  settings.data.date = world.shared(settings.data.date);
  dist::require_same_job(world, job_of(settings));
  linalg::set_threads(world.threads(settings.threads));
  const at::Device device = world.device_of(settings.device);
  world.connect();
  auto warm_up = std::make_unique<linalg::WarmUp>(device, linalg::WarmUpOf::kContext);
  {
    core::Reporter quiet;  // the run itself says what is to be said of the model
    Trainable shapes(settings, device, quiet, Values::kShapesOnly);
    require_room(settings, shapes, world, environment.reporter);
    // A rehearsal loads what a step needs and no more.
    if (auto rehearsal = rehearsal_of(settings, shapes.model().config, device))
      warm_up->then(std::move(rehearsal));
    else
      warm_up->then(linalg::WarmUpOf::kProducts);
  }
  try {
    return Run(settings, environment, device, std::move(warm_up)).go(resume);
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

TrainResult train(const TrainSettings& settings, bool resume, core::Reporter& reporter,
                  dist::World& world) {
  return run(settings, resume, {reporter, world, choose_pass});
}

}  // namespace corda::train
