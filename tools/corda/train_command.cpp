// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "console_reporter.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"
#include "corda/train/train.h"
#include "user_paths.h"

namespace corda::tools {

namespace {

struct TrainFlags {
  train::TrainSettings settings;
  std::string config;
  std::vector<std::string> assignments;
  std::string out;
  std::string device;
  std::string threads;
  bool resume = false;
  bool dry_run = false;
  bool list_settings = false;
  std::string explained;  // a name given to --settings
};

void read_settings(TrainFlags& flags, const core::SettingsList& list) {
  const std::string config = user_path(flags.config);
  if (!config.empty()) list.read(core::parse_yaml(core::read_file(config), config));
  for (const auto& assignment : flags.assignments) list.set_assignment(assignment);
  if (!flags.out.empty()) flags.settings.out = flags.out;
  if (!flags.device.empty()) flags.settings.device = flags.device;
  if (!flags.threads.empty()) list.set("threads", core::ConfigNode::scalar(flags.threads));
  list.check_required();
  expand_paths(list);
  if (flags.settings.tuning_cache == "auto") {
    const std::string directory = cache_directory().string();
    flags.settings.tuning_cache = directory.empty() ? "none" : directory;
  }
}

// A value as JSON has it: by the type of its setting, "list of files" being a list of maps.
nlohmann::ordered_json to_json(const core::ConfigNode& value, const std::string& type) {
  using Kind = core::ConfigNode::Kind;
  if (value.kind == Kind::kNull) return nullptr;
  if (value.kind == Kind::kList) {
    auto items = nlohmann::ordered_json::array();
    for (const auto& item : value.items) items.push_back(to_json(item, type));
    return items;
  }
  if (value.kind == Kind::kMap) {
    auto map = nlohmann::ordered_json::object();
    for (const auto& [key, entry] : value.entries) {
      const bool number = key == "first" || key == "count";
      map[key] = to_json(entry, number ? "integer" : "text");
    }
    return map;
  }
  if (type == "yes/no") return value.text == "true";
  if (type == "integer") return core::parse_int(value.text).value_or(0);
  if (type == "number" || type == "list of numbers")
    return core::parse_double(value.text).value_or(0);
  return value.text;
}

nlohmann::ordered_json to_json(const core::SettingsList& list) {
  nlohmann::ordered_json root;
  for (const auto& setting : list.items()) {
    nlohmann::ordered_json* place = &root;
    for (const auto& part : core::split(setting.name, '.')) place = &(*place)[part];
    *place = to_json(setting.write(), setting.type);
  }
  return root;
}

// What settings mean, one object each.
nlohmann::ordered_json explained(const std::vector<core::Setting>& settings) {
  auto list = nlohmann::ordered_json::array();
  for (const auto& setting : settings) {
    nlohmann::ordered_json object = {{"name", setting.name},
                                     {"type", setting.type},
                                     {"required", setting.required},
                                     {"default", nullptr},
                                     {"meaning", setting.help}};
    if (!setting.required) object["default"] = to_json(setting.write(), setting.type);
    if (!setting.choices.empty()) object["choices"] = setting.choices;
    const auto bound = [&](const char* key, double value) {
      if (!std::isfinite(value)) return;
      object[key] = value;
      if (setting.type == "integer") object[key] = static_cast<std::int64_t>(value);
    };
    bound("min", setting.range.min);
    bound("max", setting.range.max);
    if (!setting.entries.empty()) object["entries"] = explained(setting.entries);
    list.push_back(std::move(object));
  }
  return list;
}

void print_settings(const core::SettingsList& list, const std::string& name, bool json) {
  if (json)
    print_json(explained(list.named(name)));
  else
    std::printf("%s", (name.empty() ? list.markdown() : list.help(name)).c_str());
}

void print_plan(train::TrainPlan plan, bool json) {
  const core::SettingsList list = train::settings_of(plan.settings);
  if (json) {
    const double share = plan.tokens == 0 ? 0
                                          : static_cast<double>(plan.supervised_tokens) /
                                                static_cast<double>(plan.tokens);
    nlohmann::ordered_json object = {{"steps", plan.steps},
                                     {"steps_per_epoch", plan.steps_per_epoch},
                                     {"warmup_steps", plan.warmup_steps},
                                     {"weight_decay", plan.weight_decay},
                                     {"decay_total", plan.decay_total},
                                     {"replayed_samples", plan.replayed_samples},
                                     {"samples", plan.samples},
                                     {"tokens", plan.tokens},
                                     {"supervised_tokens", plan.supervised_tokens},
                                     {"supervised_share", share},
                                     {"longest_sample", plan.longest_sample},
                                     {"evaluation_samples", plan.evaluation_samples},
                                     {"model_parameters", plan.model_parameters},
                                     {"trained_parameters", plan.trained_parameters},
                                     {"state_bytes", plan.state_bytes},
                                     {"device", plan.device},
                                     {"settings", to_json(list)}};
    if (plan.taken_up) {
      const std::string& checkpoint = plan.taken_up->checkpoint;
      object["resumes"] = {{"after_step", plan.taken_up->step}, {"checkpoint", nullptr}};
      if (!checkpoint.empty()) object["resumes"]["checkpoint"] = checkpoint;
    }
    print_json(object);
    return;
  }
  std::printf("%s", core::to_yaml(list.resolved()).c_str());
  for (const std::string& line : train::describe(plan)) std::printf("# %s\n", line.c_str());
}

void print_result(const train::TrainResult& result, bool json) {
  if (json) {
    nlohmann::ordered_json object = {{"out", result.output},
                                     {"steps", result.steps},
                                     {"loss", result.loss},
                                     {"seconds", result.seconds},
                                     {"peak_memory_bytes", result.peak_memory_bytes},
                                     {"state_bytes", result.state_bytes}};
    if (result.eval_loss) object["eval_loss"] = *result.eval_loss;
    if (result.forgetting) object["forgetting"] = *result.forgetting;
    if (result.best_step) object["best_step"] = *result.best_step;
    if (result.best_eval_loss) object["best_eval_loss"] = *result.best_eval_loss;
    print_json(object);
    return;
  }
  std::printf("%lld steps in %.1f s, last loss %.4f", static_cast<long long>(result.steps),
              result.seconds, result.loss);
  if (result.eval_loss && !result.best_step)
    std::printf(", evaluation loss %.4f", *result.eval_loss);
  if (result.forgetting) std::printf(", forgetting gauge %.4g", *result.forgetting);
  if (result.best_step && result.best_eval_loss) {  // which the last step need not be
    std::printf("; the result is that of step %lld, evaluation loss %.4f",
                static_cast<long long>(*result.best_step), *result.best_eval_loss);
  }
  std::printf(": %s\n", result.output.c_str());
}

}  // namespace

void add_train(CLI::App& app, CommonFlags& common, Action& action) {
  CLI::App* verb = app.add_subcommand("train", "Fine-tune an adapter, or the whole model.");
  const auto flags = std::make_shared<TrainFlags>();
  const auto list = train::settings_of(flags->settings);
  verb->add_option("--config", flags->config, "settings file (YAML)")->type_name("FILE");
  verb->add_option("--set", flags->assignments,
                   "override a setting: name=value; may be given several times")
      ->type_name("NAME=VALUE");
  verb->add_option("--out", flags->out, "run directory, overrides 'out'")->type_name("DIR");
  verb->add_option("--device", flags->device, "auto, cpu, cuda or cuda:N; overrides 'device'")
      ->type_name("TEXT");
  verb->add_option("--threads", flags->threads, "CPU threads; overrides 'threads'")
      ->type_name("NUMBER");
  verb->add_flag("--resume", flags->resume,
                 "continue from the latest complete checkpoint of the run directory");
  verb->add_flag(
      "--dry-run", flags->dry_run,
      "check settings, model, adapter, data and device, print what the run would be, and "
      "stop");
  verb->add_option_function<std::vector<std::string>>(
          "--settings",
          [flags](const std::vector<std::string>& names) {
            flags->list_settings = true;
            if (!names.empty()) flags->explained = names.front();
          },
          "print every setting as a table, or what one (or a group of them) means, and stop")
      ->expected(0, 1)
      ->type_name("[NAME]");
  verb->callback([flags, list, &common, &action] {
    action = [flags, list, &common] {
      if (flags->list_settings) {
        print_settings(list, flags->explained, common.json);
        return;
      }
      read_settings(*flags, list);
      train::check(flags->settings);
      ConsoleReporter reporter(common.quiet, !common.prints);
      if (flags->dry_run) {
        if (common.prints)
          print_plan(train::plan(flags->settings, flags->resume, reporter, common.world->size(),
                                 common.world->local_size()),
                     common.json);
        return;
      }
      outlive_readers();
      const auto result = train::train(flags->settings, flags->resume, reporter, *common.world);
      if (common.prints) print_result(result, common.json);
    };
  });
}

}  // namespace corda::tools
