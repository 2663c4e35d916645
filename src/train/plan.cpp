// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/plan.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "corda/core/error.h"
#include "corda/core/refuse_changed.h"
#include "corda/core/sha256.h"
#include "corda/linalg/device.h"
#include "corda/model/config.h"
#include "corda/train/schedule.h"
#include "train/checkpoint.h"
#include "train/choose_pass.h"
#include "train/gauge.h"
#include "train/room.h"
#include "train/run_directory.h"
#include "train/shard_layout.h"

namespace corda::train {

using core::concat;

namespace {

double percent(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

// Three digits are enough to see.
std::string rounded(double value) {
  const double unit = value == 0 ? 1 : std::pow(10, std::floor(std::log10(std::abs(value))) - 2);
  return concat(std::round(value / unit) * unit);
}

std::string memory_line(const TrainPlan& plan) {
  const std::string split =
      plan.split_over > 1 ? concat(", split over ", plan.split_over, " ranks,") : "";
  return concat("about ", rounded(static_cast<double>(plan.state_bytes) * 1e-9), " GB on ",
                plan.device, " for weights, gradients and optimizer", split.empty() ? "," : split,
                " beside what activations take");
}

// Weights, and which files share one; "" where the data are no mixture. Their paths may change.
std::string weights_of(const std::vector<data::DataFile>& files) {
  std::string text;
  const data::DataFile* before = nullptr;
  for (const auto& file : files) {
    const bool shared = before != nullptr && !file.source.empty() && before->source == file.source;
    if (file.weight > 0) text += concat(text.empty() ? "" : " ", file.weight, shared ? "+" : "");
    before = &file;
  }
  return text;
}

}  // namespace

StepCounts step_counts(const TrainSettings& settings, std::int64_t samples) {
  StepCounts counts;
  counts.per_epoch = (samples + settings.optim.batch_size - 1) / settings.optim.batch_size;
  const auto by_epochs = static_cast<std::int64_t>(
      std::ceil(settings.optim.epochs * static_cast<double>(counts.per_epoch) - 1e-9));
  counts.total = settings.optim.max_steps > 0 ? settings.optim.max_steps
                                              : std::max<std::int64_t>(1, by_epochs);
  counts.warmup = static_cast<std::int64_t>(
      std::ceil(settings.optim.warmup_ratio * static_cast<double>(counts.total) - 1e-9));
  return counts;
}

double weight_decay_of(const TrainSettings& settings, const StepCounts& steps) {
  const TrainSettings::Optim& optim = settings.optim;
  if (optim.decay_total == 0) return optim.weight_decay;
  const double rates = rate_sum(optim.schedule, optim.lr, steps.warmup, steps.total);
  if (rates > 0) return optim.decay_total / rates;
  throw core::ConfigError(concat("'optim.decay_total' is ", optim.decay_total,
                                 ", but the learning rate of every step is 0 (", steps.total,
                                 " steps, of which ", steps.warmup,
                                 " are warm-up); train longer or lower optim.warmup_ratio"));
}

core::ConfigNode identity_of(const TrainSettings& resolved, const RunData& data,
                             const Trainable& trainable) {
  TrainSettings settings = resolved;
  core::ConfigNode identity = settings_of(settings).binding();
  const auto add = [&](const char* name, const std::string& value) {
    identity.entries.emplace_back(name, core::ConfigNode::scalar(value));
  };
  add("base fingerprint", trainable.base_fingerprint());
  add("config.json", model::config_fingerprint(settings.model));
  add("adapter fingerprint", trainable.start_fingerprint());
  add("data fingerprint", data.train.samples.fingerprint());
  if (settings.optim.decay_metric == "knowledge")
    add("covariance of the decay", io::CovarianceReader(settings.gauge.covariance).fingerprint());
  const std::string weights = weights_of(settings.data.train);
  if (!weights.empty()) add("mixture", weights);
  const std::string& chat_template = data.train.template_used.chat_template;
  add("template", "sha256:" + core::Sha256().update(chat_template).hex_digest());
  return identity;
}

core::ConfigNode job_of(const TrainSettings& settings) {
  TrainSettings copy = settings;
  // Places and threads are each machine's own; what stands there is compared by its content.
  for (std::string* place :
       {&copy.model, &copy.adapter, &copy.out, &copy.tuning_cache, &copy.gauge.covariance})
    place->clear();
  copy.data.train.clear();
  copy.data.eval.clear();
  copy.data.replay.files.clear();
  copy.threads = 0;
  core::ConfigNode job = settings_of(copy).resolved();
  const auto add = [&](const char* name, std::size_t files) {
    job.entries.emplace_back(name, core::ConfigNode::scalar(concat(files)));
  };
  add("files to train on", settings.data.train.size());
  add("files to evaluate on", settings.data.eval.size());
  add("files to replay", settings.data.replay.files.size());
  return job;
}

core::ConfigNode content_of(const core::ConfigNode& identity, const RunData& data) {
  core::ConfigNode content = identity;
  content.entries.emplace_back("evaluation data",
                               core::ConfigNode::scalar(data.eval.samples.fingerprint()));
  return content;
}

namespace {

TakenUp taken_up(const fs::path& run, const core::ConfigNode& identity, std::int64_t total) {
  const auto checkpoint = latest_checkpoint(run);
  if (!checkpoint) return {};
  const std::int64_t step = check_same_run(*checkpoint, identity);
  check_not_behind_end(*checkpoint, step, total);
  return {.step = step, .checkpoint = checkpoint->string()};
}

}  // namespace

TrainPlan plan_of(const TrainSettings& resolved, const RunData& data, Trainable& trainable,
                  at::Device device, int ranks) {
  check_decay_metric(resolved, trainable);
  const StepCounts steps = step_counts(resolved, data.epoch.samples);
  TrainPlan plan{.settings = resolved,
                 .samples = data.epoch.samples,
                 .replayed_samples = data.epoch.replayed,
                 .tokens = data.train.counts.tokens,
                 .supervised_tokens = data.train.counts.supervised,
                 .longest_sample = data.train.counts.longest,
                 .evaluation_samples = data.eval.samples.size(),
                 .longest_evaluation_sample = data.eval.counts.longest,
                 .steps_per_epoch = steps.per_epoch,
                 .steps = steps.total,
                 .warmup_steps = steps.warmup,
                 .weight_decay = weight_decay_of(resolved, steps),
                 .device = linalg::describe(device)};
  const auto& optim = resolved.optim;
  plan.decay_total =
      plan.weight_decay * rate_sum(optim.schedule, optim.lr, steps.warmup, steps.total);
  for (const auto& [name, tensor] : trainable.model().parameters()) {
    plan.model_parameters += tensor->numel();
  }
  if (splits_parameters(resolved) && ranks > 1) {
    plan.trained_parameters = plan.model_parameters;
    plan.split_over = ranks;
    plan.state_bytes = shard_layout(trainable.model().config, ranks).state_bytes();
    return plan;
  }
  for (const auto& [name, tensor] : trainable.parameters())
    plan.trained_parameters += tensor.numel();
  plan.state_bytes = state_bytes(trainable);
  return plan;
}

void warn_of(const TrainPlan& plan, const model::ModelDescription& model,
             core::Reporter& reporter) {
  const std::int64_t longest = std::max(plan.longest_sample, plan.longest_evaluation_sample);
  model::warn_beyond_positions(
      model, longest, concat("a sample of ", longest, " tokens"), reporter,
      concat("; data.max_length=", model.max_positions, " keeps samples within them"));
  const TrainSettings& settings = plan.settings;
  if (settings.eval.every > 0 && settings.data.eval.empty()) {
    reporter.warn(concat("eval.every is ", settings.eval.every,
                         ", and nothing is evaluated: data.eval names no file"));
  }
  if (settings.gauge.every > 0 && settings.gauge.covariance.empty()) {
    reporter.warn(concat("gauge.every is ", settings.gauge.every,
                         ", and nothing is gauged: gauge.covariance names no covariance"));
  }
  const TrainSettings::Optim& optim = plan.settings.optim;
  // One file may serve several methods, so this is no error.
  const auto warn_of_unused = [&](const std::vector<std::string>& names, const std::string& why) {
    try {
      core::refuse_changed(settings, settings_of, names, why);
    } catch (const core::ConfigError& error) {
      reporter.warn(error.what());
    }
  };
  if (settings.method == "full") {
    warn_of_unused(
        {"lora.rank", "lora.alpha", "lora.use_rslora", "lora.dropout", "lora.target_modules"},
        "for an adapter, and method full has none");
  }
  if (settings.loss.weighting != "eaft")
    warn_of_unused({"loss.eaft_power"}, "for 'loss.weighting: eaft'");
  if (optim.lora_plus_ratio != 1 && settings.train_b == "false" && settings.method != "dora") {
    reporter.warn(concat("optim.lora_plus_ratio (", optim.lora_plus_ratio,
                         ") is of the rate of B, which is not trained, and changes nothing"));
  }
  if (optim.max_steps > 0 && optim.epochs != TrainSettings{}.optim.epochs) {
    reporter.warn(concat("optim.max_steps is ", optim.max_steps,
                         ", so the run ends after that and optim.epochs (", optim.epochs,
                         ") changes nothing"));
  }
  const double largest = optim.lr * std::max(1.0, optim.lora_plus_ratio) * plan.weight_decay;
  if (largest > 1) {
    reporter.warn(concat("weight decay ", rounded(plan.weight_decay), " at the highest rate takes ",
                         rounded(largest),
                         " times a weight in one step, which turns its sign; lower it"));
  }
  if (plan.steps == 1 && plan.warmup_steps == 1) {
    reporter.warn(
        "the only step is warm-up and has learning rate 0, so nothing will be learnt; lower "
        "optim.batch_size, set optim.warmup_ratio=0 or train longer");
  } else if (plan.warmup_steps >= plan.steps) {
    reporter.warn(
        concat("all ", plan.steps, " steps are warm-up; lower optim.warmup_ratio or train longer"));
  }
}

std::vector<std::string> describe(const TrainPlan& plan) {
  std::vector<std::string> lines = {
      concat(plan.steps, " steps of up to ", plan.settings.optim.batch_size, " samples, ",
             plan.steps_per_epoch, " an epoch, the first ", plan.warmup_steps, " warm-up"),
      concat(plan.samples, " samples an epoch; ", plan.tokens, " tokens in all files, ",
             rounded(percent(plan.supervised_tokens, plan.tokens)), " % supervised; ",
             plan.evaluation_samples, " samples to evaluate on"),
      concat(plan.trained_parameters, " parameters are trained, ",
             rounded(percent(plan.trained_parameters, plan.model_parameters)), " % of the ",
             plan.model_parameters, " of the model"),
      memory_line(plan)};
  if (plan.taken_up) {
    const auto& [step, checkpoint] = *plan.taken_up;
    lines.push_back(checkpoint.empty() ? concat("nothing of a run is in '", plan.settings.out,
                                                "' yet: it starts from the beginning")
                                       : concat("it goes on after step ", step, " of ", plan.steps,
                                                ", from '", checkpoint, "'"));
  }
  if (plan.replayed_samples > 0) {
    lines.push_back(concat(plan.replayed_samples, " of the ", plan.samples,
                           " samples of an epoch are replayed"));
  }
  if (plan.weight_decay > 0) {
    const double ratio = plan.settings.optim.lora_plus_ratio;
    lines.push_back(concat(
        "weight decay ", rounded(plan.weight_decay), " adds up to ", rounded(plan.decay_total),
        " over the run: a weight without a gradient ", "ends at ",
        rounded(std::exp(-plan.decay_total)), " of itself",
        ratio == 1 ? ""
                   : concat("; for B, with its rate, to ", rounded(plan.decay_total * ratio))));
  }
  return lines;
}

TrainPlan plan(const TrainSettings& given, bool resume, core::Reporter& reporter, int ranks,
               int ranks_here) {
  TrainSettings settings = given;
  settings_of(settings).check_values();
  check(settings);
  check_run_directory(settings, resume);
  check_writable(settings.out);
  const at::Device device = linalg::device_of(settings.device);
  if (settings.data.date.empty()) settings.data.date = date_of(settings.out, resume);
  linalg::set_threads(settings.threads);
  Trainable trainable(settings, device, reporter, Values::kShapesOnly);
  check_pass_settings(settings, trainable.model(), device);
  if (!settings.gauge.covariance.empty()) Gauge(settings.gauge.covariance, trainable);
  const RunData data = load_data(settings, DataCache::kNotInRun, reporter, dist::alone());
  TrainPlan result = plan_of(trainable.resolve(settings), data, trainable, device, ranks);
  warn_of(result, trainable.model().config, reporter);
  if (resume) {
    result.taken_up =
        taken_up(settings.out, identity_of(result.settings, data, trainable), result.steps);
  }
  // The run may be meant for another machine.
  try {
    require_disk(settings, trainable, reporter);
  } catch (const core::ResourceError& error) {
    reporter.warn(error.what());
  }
  try {
    if (result.split_over == 1) {
      require_memory(settings, trainable, device, ranks, ranks_here);
    } else if (const std::int64_t free = linalg::free_memory_bytes(device);
               result.state_bytes > free) {
      reporter.warn(concat(memory_line(result), ", and ", rounded(static_cast<double>(free) * 1e-9),
                           " GB are free"));
    }
  } catch (const core::ResourceError& error) {
    const bool would_split = settings.shard && ranks == 1;
    reporter.warn(concat(error.what(),
                         would_split ? "; this dry run is of one rank: begun as the run will be, "
                                       "with --gpus or a launcher, it counts what 'shard' leaves "
                                       "to each"
                                     : ""));
  }
  return result;
}

}  // namespace corda::train
