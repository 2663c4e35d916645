// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "console_reporter.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/study/compare.h"
#include "corda/study/truncation.h"
#include "user_paths.h"

namespace corda::tools {

namespace {

struct StudyFlags {
  std::string kind;
  study::CompareSettings compare;
  study::TruncationSettings truncation;
  std::string config;
  std::vector<std::string> assignments;
  std::string out;
  std::string device;
  std::string threads;
  bool list_settings = false;
  bool dry_run = false;
};

void read_settings(const StudyFlags& flags, const core::SettingsList& list) {
  const std::string config = user_path(flags.config);
  if (!config.empty()) list.read(core::parse_yaml(core::read_file(config), config));
  for (const auto& assignment : flags.assignments) list.set_assignment(assignment);
  for (const auto& [name, value] :
       {std::pair{"out", flags.out}, {"device", flags.device}, {"threads", flags.threads}})
    if (!value.empty()) list.set(name, core::ConfigNode::scalar(value));
  list.check_required();
  expand_paths(list);
}

void compare(StudyFlags& flags, const CommonFlags& common) {
  study::CompareSettings& settings = flags.compare;
  read_settings(flags, study::settings_of(settings));
  const std::string cache = cache_directory().string();
  settings.tuning_cache = cache.empty() ? "none" : cache;
  ConsoleReporter reporter(common.quiet);
  if (flags.dry_run) {
    const std::vector<std::string> names = study::run_names(settings, expand_paths);
    if (common.json) {
      print_json({{"runs", names}});
    } else {
      for (const auto& name : names) std::printf("%s\n", name.c_str());
    }
    return;
  }
  outlive_readers();
  const study::CompareResult result = study::compare(settings, reporter, expand_paths);
  if (common.json) {
    print_json({{"runs", result.runs},
                {"done", result.done},
                {"skipped", result.skipped},
                {"failed", result.failed},
                {"results", result.results},
                {"report", result.report}});
    return;
  }
  const auto count = [](std::int64_t value) { return static_cast<long long>(value); };
  std::printf("%lld runs: %lld done, %lld were there, %lld failed: %s\n", count(result.runs),
              count(result.done), count(result.skipped), count(result.failed),
              result.report.c_str());
}

void truncation(StudyFlags& flags, const CommonFlags& common) {
  study::TruncationSettings& settings = flags.truncation;
  read_settings(flags, study::settings_of(settings));
  if (flags.dry_run)
    throw core::ConfigError("--dry-run lists the runs of a comparison; a truncation has none");
  ConsoleReporter reporter(common.quiet);
  const std::vector<study::TruncationRow> rows =
      study::truncation(settings, reporter, expand_paths);
  const std::string lines = study::to_jsonl(rows);
  if (!settings.out.empty()) core::write_file_atomic(settings.out, lines);
  std::printf("%s", (common.json ? lines : study::to_text(rows)).c_str());
}

void run(StudyFlags& flags, const CommonFlags& common) {
  if (flags.kind.empty()) throw core::ConfigError("corda study wants one of: compare, truncation");
  const bool compares = flags.kind == "compare";
  if (flags.list_settings) {
    if (common.json)
      throw core::ConfigError("corda study --settings prints text; leave --json out");
    const core::SettingsList list =
        compares ? study::settings_of(flags.compare) : study::settings_of(flags.truncation);
    std::printf("%s", list.markdown().c_str());
    return;
  }
  (compares ? compare : truncation)(flags, common);
}

}  // namespace

void add_study(CLI::App& app, CommonFlags& common, Action& action) {
  CLI::App* verb = app.add_subcommand(
      "study",
      "Compare methods over rates, ranks and seeds, or measure a model without its smallest "
      "components.");
  const auto flags = std::make_shared<StudyFlags>();
  verb->add_option("STUDY", flags->kind, "compare: many runs; truncation: perplexity by components")
      ->check(CLI::IsMember({"compare", "truncation"}))
      ->type_name("compare|truncation");
  verb->add_option("--config", flags->config, "settings file (YAML)")->type_name("FILE");
  verb->add_option("--set", flags->assignments,
                   "override a setting: name=value; may be given several times")
      ->type_name("NAME=VALUE");
  verb->add_option("--out", flags->out,
                   "folder of a comparison, JSONL file of a truncation; overrides 'out'")
      ->type_name("PATH");
  verb->add_option("--device", flags->device, "auto, cpu, cuda or cuda:N; overrides 'device'")
      ->type_name("TEXT");
  verb->add_option("--threads", flags->threads, "CPU threads; overrides 'threads'")
      ->type_name("NUMBER");
  verb->add_flag("--dry-run", flags->dry_run,
                 "of compare: check all settings, print the runs' names, and stop");
  verb->add_flag("--settings", flags->list_settings, "print every setting as a table, and stop");
  verb->callback([flags, &common, &action] { action = [flags, &common] { run(*flags, common); }; });
}

}  // namespace corda::tools
