// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "console_reporter.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"
#include "corda/covariance/estimate.h"
#include "corda/linalg/device.h"
#include "corda/model/model.h"
#include "corda/train/estimate.h"
#include "user_paths.h"

namespace corda::tools {

namespace {

struct PlanFlags {
  std::string verb = "train";
  std::string model;
  covariance::StreamWork work = {.stored_rank = 256};
  bool dual = false;
  train::TrainSettings settings;
  std::string config;
  std::vector<std::string> assignments;
  std::string gpu = "auto";
  bool no_data = false;
  int gpus = 1;
};

train::Gpu chosen_gpu(const std::string& name) {
  if (name != "auto") return train::gpu_named(name);
  const at::Device device = linalg::device_of("auto");
  if (!device.is_cuda()) {
    throw core::ConfigError(
        "this machine has no GPU to plan for; name one with --gpu, such as --gpu H100");
  }
  return train::gpu_of(device);
}

std::string gigabytes(std::int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GB", static_cast<double>(bytes) * 1e-9);
  return text;
}

std::string duration(double seconds) {
  const auto minutes = static_cast<std::int64_t>(std::lround(seconds / 60));
  if (minutes < 1) return "under a minute";
  if (minutes < 120) return core::concat("about ", minutes, " minutes");
  return core::concat("about ", (minutes + 30) / 60, " hours");
}

void print(const train::Estimate& plan, bool json) {
  if (json) {
    nlohmann::ordered_json parts = nlohmann::ordered_json::object();
    for (const auto& part : plan.parts) parts[part.what] = part.bytes;
    print_json({{"gpu", plan.gpu},
                {"gpu_bytes", plan.gpu_bytes},
                {"fits", plan.fits},
                {"total_bytes", plan.total_bytes},
                {"bytes", parts},
                {"precision", plan.precision},
                {"gradients", plan.gradients},
                {"recompute", plan.recompute},
                {"offload", plan.offload},
                {"rank", plan.rank},
                {"model_parameters", plan.model_parameters},
                {"trained_parameters", plan.trained_parameters},
                {"micro_batch_tokens", plan.micro_batch_tokens},
                {"flops_per_token", plan.flops_per_token},
                {"tokens_per_second", plan.tokens_per_second},
                {"steps", plan.steps},
                {"tokens", plan.tokens},
                {"seconds", plan.seconds},
                {"checkpoint_bytes", plan.checkpoint_bytes},
                {"advice", plan.advice}});
    return;
  }
  for (const auto& part : plan.parts)
    std::printf("%12s  %s\n", gigabytes(part.bytes).c_str(), part.what.c_str());
  std::printf(
      "%12s  in all: %s %s of %s (gradients %s, recompute %s, offload %s, micro-batches of %lld "
      "tokens)\n",
      gigabytes(plan.total_bytes).c_str(), plan.fits ? "fits the" : "does NOT fit the",
      gigabytes(plan.gpu_bytes).c_str(), plan.gpu.c_str(), plan.gradients.c_str(),
      plan.recompute.c_str(), plan.offload.c_str(),
      static_cast<long long>(plan.micro_batch_tokens));
  if (plan.tokens_per_second > 0) {
    std::printf("about %.0f tokens a second", plan.tokens_per_second);
    if (plan.seconds > 0) {
      std::printf(": %s for %lld steps, %lld tokens", duration(plan.seconds).c_str(),
                  static_cast<long long>(plan.steps), static_cast<long long>(plan.tokens));
    }
    std::printf("\n");
  }
  std::printf("%s on the disk for each checkpoint\n", gigabytes(plan.checkpoint_bytes).c_str());
  if (plan.fits) return;
  if (plan.advice.empty()) {
    std::printf("no setting makes it fit; a smaller model or a larger GPU is needed\n");
    return;
  }
  std::printf("it fits with:");
  for (const auto& setting : plan.advice) std::printf(" --set %s", setting.c_str());
  std::printf("\n");
}

// A verb that works on the model block by block, or tensor by tensor.
struct Work {
  std::string where;  // whose memory the parts are of
  std::vector<covariance::StreamPart> parts;
  std::int64_t total_bytes = 0;
  std::int64_t available_bytes = 0;  // 0: not known
  std::int64_t host_bytes = 0;
  std::int64_t disk_bytes = 0;
};

// `merge` holds one tensor at a time: as stored, its update and the sum in fp32, as written.
Work merge_work(const model::ModelDescription& model) {
  std::int64_t largest = 0;
  std::int64_t all = 0;
  for (const auto& [name, shape] : model::expected_tensors(model)) {
    std::int64_t elements = 1;
    for (const std::int64_t size : shape) elements *= size;
    if (shape.size() == 2 && name.find("embed") == std::string::npos)
      largest = std::max(largest, elements);
    all += elements;
  }
  Work work{.where = "this machine's memory", .parts = {}};
  work.parts = {
      {.what = "the largest weight that is adapted, 16 bits, twice", .bytes = 4 * largest},
      {.what = "its update and their sum, fp32", .bytes = 8 * largest}};
  for (const auto& part : work.parts) work.total_bytes += part.bytes;
  work.available_bytes = linalg::free_memory_bytes(at::kCPU);
  work.disk_bytes = 2 * all;
  return work;
}

Work stream_work(const PlanFlags& flags, const model::ModelDescription& model) {
  const train::Gpu gpu = chosen_gpu(flags.gpu);
  covariance::StreamWork asked = flags.work;
  asked.decomposes = flags.verb == "decompose";
  asked.draws = asked.decomposes && flags.dual ? 2 : 1;
  if (model.max_positions > 0) asked.seq_len = std::min(asked.seq_len, model.max_positions);
  const covariance::StreamEstimate plan =
      covariance::estimate_stream(model, asked, gpu.memory_bytes);
  return {.where = gpu.name,
          .parts = plan.parts,
          .total_bytes = plan.total_bytes,
          .available_bytes = gpu.memory_bytes,
          .host_bytes = plan.host_bytes,
          .disk_bytes = plan.disk_bytes};
}

void plan_without_training(const PlanFlags& flags, const CommonFlags& common) {
  if (flags.model.empty())
    throw core::ConfigError(core::concat("corda plan ", flags.verb, " wants --model"));
  const std::string directory = paths_of(flags.model, core::PathKind::kModel).front();
  const model::ModelDescription model = model::read_model_config(directory);
  const Work work = flags.verb == "merge" ? merge_work(model) : stream_work(flags, model);
  const bool fits = work.total_bytes <= work.available_bytes;
  if (common.json) {
    nlohmann::ordered_json parts = nlohmann::ordered_json::object();
    for (const auto& part : work.parts) parts[part.what] = part.bytes;
    print_json({{"where", work.where},
                {"fits", fits},
                {"total_bytes", work.total_bytes},
                {"available_bytes", work.available_bytes},
                {"bytes", parts},
                {"host_bytes", work.host_bytes},
                {"disk_bytes", work.disk_bytes}});
    return;
  }
  for (const auto& part : work.parts)
    std::printf("%12s  %s\n", gigabytes(part.bytes).c_str(), part.what.c_str());
  std::printf("%12s  in all: %s the %s of %s\n", gigabytes(work.total_bytes).c_str(),
              fits ? "fits" : "does NOT fit", gigabytes(work.available_bytes).c_str(),
              work.where.c_str());
  if (work.host_bytes > 0)
    std::printf("%12s  of the machine's memory, pinned\n", gigabytes(work.host_bytes).c_str());
  std::printf("%12s  of the disk\n", gigabytes(work.disk_bytes).c_str());
  if (!fits && flags.verb != "merge")
    std::printf("it may fit with: --batch-tokens %lld\n",
                static_cast<long long>(std::max<std::int64_t>(flags.work.batch_tokens / 4, 512)));
}

// The flags that the plans of some verbs alone look at.
struct FlagOf {
  const char* flag;
  std::vector<std::string> verbs;
};
const std::vector<FlagOf>& flags_of_verbs() {
  static const std::vector<std::string> kStreams = {"calibrate", "decompose"};
  static const std::vector<FlagOf> kFlags = {{"--model", {"calibrate", "decompose", "merge"}},
                                             {"--gpus", {"train"}},
                                             {"--samples", kStreams},
                                             {"--seq-len", kStreams},
                                             {"--batch-tokens", kStreams},
                                             {"--stored-rank", {"decompose"}},
                                             {"--dual", {"decompose"}},
                                             {"--config", {"train"}},
                                             {"--set", {"train"}},
                                             {"--gpu", {"train", "calibrate", "decompose"}},
                                             {"--no-data", {"train"}}};
  return kFlags;
}

void refuse_unused(const CLI::App& app, const std::string& verb) {
  for (const FlagOf& each : flags_of_verbs()) {
    const bool looks = std::ranges::find(each.verbs, verb) != each.verbs.end();
    if (looks || app.get_option(each.flag)->count() == 0) continue;
    throw core::ConfigError(core::concat(each.flag, " is for corda plan ",
                                         core::join(each.verbs, ", "), "; corda plan ", verb,
                                         " does not look at it"));
  }
}

void run(PlanFlags& flags, const CommonFlags& common) {
  if (flags.verb != "train") return plan_without_training(flags, common);
  const core::SettingsList list = train::settings_of(flags.settings);
  const std::string config = user_path(flags.config);
  if (!config.empty()) list.read(core::parse_yaml(core::read_file(config), config));
  for (const auto& assignment : flags.assignments) list.set_assignment(assignment);
  list.check_required();
  // Data and adapter need not be there yet.
  const auto there = [](const std::string& path, core::PathKind kind) -> std::vector<std::string> {
    try {
      return paths_of(path, kind);
    } catch (const core::IoError&) {
      if (kind == core::PathKind::kData) return {path};
      throw;
    }
  };
  list.change_paths(there);
  ConsoleReporter reporter(common.quiet);
  const train::Gpu gpu = chosen_gpu(flags.gpu);
  const auto data = flags.no_data ? std::nullopt : train::measure_data(flags.settings, reporter);
  if (!data && !flags.no_data)
    reporter.warn("the training data are not there; every sample is taken to be max_length tokens");
  print(train::estimate(flags.settings, gpu, data, reporter, flags.gpus), common.json);
}

}  // namespace

void add_plan(CLI::App& app, CommonFlags& common, Action& action) {
  CLI::App* verb = app.add_subcommand(
      "plan", "Say what memory and time a training, or another verb, needs, from settings alone.");
  const auto flags = std::make_shared<PlanFlags>();
  std::vector<std::string> names;
  for (const train::Gpu& gpu : train::known_gpus()) names.push_back(gpu.name);
  verb->add_option("VERB", flags->verb, "whose work it is; train where none is named")
      ->check(CLI::IsMember({"train", "calibrate", "decompose", "merge"}))
      ->type_name("train|calibrate|decompose|merge");
  verb->add_option("--model", flags->model, "of calibrate, decompose and merge; train's is set")
      ->type_name("PATH");
  verb->add_option("--gpus", flags->gpus, "of one machine that train together [1]")
      ->check(CLI::Range(1, 64))
      ->type_name("NUMBER");
  verb->add_option("--samples", flags->work.samples, "of calibrate and decompose [256]")
      ->type_name("NUMBER");
  verb->add_option("--seq-len", flags->work.seq_len, "tokens of a sample [2048]")
      ->type_name("NUMBER");
  verb->add_option("--batch-tokens", flags->work.batch_tokens, "of one forward pass [8192]")
      ->type_name("NUMBER");
  verb->add_option("--stored-rank", flags->work.stored_rank,
                   "of decompose: rank of the file, twice --rank in modes that subtract their "
                   "start (kpa, ipa, sc, milora, pissa) [256]")
      ->type_name("NUMBER");
  verb->add_flag("--dual", flags->dual,
                 "of decompose: modes dual and sc, with two sets of samples");
  verb->add_option("--config", flags->config, "settings file of the training (YAML)")
      ->type_name("FILE");
  verb->add_option("--set", flags->assignments,
                   "override a setting: name=value; may be given several times")
      ->type_name("NAME=VALUE");
  verb->add_option("--gpu", flags->gpu,
                   "auto (this machine's), or one of " + core::join(names, ", "))
      ->type_name("TEXT");
  verb->add_flag("--no-data", flags->no_data, "do not look at the data: every sample is full");
  verb->callback([verb, flags, &common, &action] {
    action = [verb, flags, &common] {
      refuse_unused(*verb, flags->verb);
      run(*flags, common);
    };
  });
}

}  // namespace corda::tools
