// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "console_reporter.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/train/train.h"

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
};

void read_settings(TrainFlags& flags, const core::SettingsList& list) {
  if (!flags.config.empty())
    list.read(core::parse_yaml(core::read_file(flags.config), flags.config));
  for (const auto& assignment : flags.assignments) list.set_assignment(assignment);
  if (!flags.out.empty()) flags.settings.out = flags.out;
  if (!flags.device.empty()) flags.settings.device = flags.device;
  if (!flags.threads.empty()) list.set("threads", core::ConfigNode::scalar(flags.threads));
  list.check_required();
}

void print_result(const train::TrainResult& result, bool json) {
  if (json) {
    nlohmann::ordered_json object = {{"out", result.output},
                                     {"steps", result.steps},
                                     {"loss", result.loss},
                                     {"seconds", result.seconds},
                                     {"peak_memory_bytes", result.peak_memory_bytes}};
    if (result.eval_loss) object["eval_loss"] = *result.eval_loss;
    print_json(object);
    return;
  }
  std::printf("%lld steps in %.1f s, last loss %.4f", static_cast<long long>(result.steps),
              result.seconds, result.loss);
  if (result.eval_loss) std::printf(", evaluation loss %.4f", *result.eval_loss);
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
  verb->add_flag("--dry-run", flags->dry_run, "print the resolved settings and stop");
  verb->add_flag("--settings", flags->list_settings, "print every setting as a table and stop");
  verb->callback([flags, list, &common, &action] {
    action = [flags, list, &common] {
      if (common.json && flags->list_settings)
        throw core::ConfigError("--settings prints a Markdown table; leave --json out");
      if (flags->list_settings) {
        std::printf("%s", list.markdown().c_str());
        return;
      }
      if (common.json && flags->dry_run)
        throw core::ConfigError("--dry-run prints YAML; leave --json out");
      read_settings(*flags, list);
      train::check(flags->settings);
      if (flags->dry_run) {
        std::printf("%s", core::to_yaml(list.resolved()).c_str());
        return;
      }
      ConsoleReporter reporter(common.quiet);
      print_result(train::train(flags->settings, flags->resume, reporter), common.json);
    };
  });
}

}  // namespace corda::tools
