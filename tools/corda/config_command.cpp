// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <cstdio>
#include <memory>

#include "command_table.h"
#include "commands.h"
#include "config_init.h"
#include "console_reporter.h"
#include "corda/calibrate/calibrate.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"
#include "corda/data/preview.h"
#include "corda/decompose/decompose.h"
#include "corda/eval/eval.h"
#include "corda/merge/merge.h"
#include "corda/train/settings.h"
#include "user_paths.h"

namespace corda::tools {

namespace {

struct ConfigFlags {
  InitSettings init;
  std::string action;
  std::string method;
  std::string explained;
  bool schema = false;
  bool markdown = false;
};

// What a verb's flag means where a training has no such setting; "" where no verb has one.
std::string explain_flag(std::string name) {
  while (name.starts_with('-')) name.erase(0, 1);
  std::replace(name.begin(), name.end(), '-', '_');
  calibrate::CalibrateSettings calibrate;
  decompose::DecomposeSettings decompose;
  eval::EvalSettings eval;
  merge::MergeSettings merge;
  data::PreviewSettings preview;
  std::string text;
  for (const auto& [verb, list] : {std::pair{"calibrate", calibrate::settings_of(calibrate)},
                                   {"decompose", decompose::settings_of(decompose)},
                                   {"eval", eval::settings_of(eval)},
                                   {"merge", merge::settings_of(merge)},
                                   {"preview", data::settings_of(preview)}}) {
    if (list.find(name) != nullptr) text += core::concat("corda ", verb, " --", list.help(name));
  }
  return text;
}

std::string explain(const std::string& name) {
  train::TrainSettings settings;
  const core::SettingsList list = train::settings_of(settings);
  try {
    return list.help(name);
  } catch (const core::ConfigError&) {
    const std::string flag = explain_flag(name);
    if (flag.empty()) throw;
    return flag;
  }
}

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void init(ConfigFlags& flags, const CommonFlags& common) {
  ConsoleReporter reporter(common.quiet);
  if (flags.method.empty()) {
    throw core::ConfigError(
        core::concat("corda config init wants a method: ", core::join(init_methods(), ", ")));
  }
  flags.init.method = flags.method;
  const std::string out = user_path(flags.init.out);
  if (!out.empty() && core::fs::exists(out))
    throw core::ConfigError(core::concat("'", out, "' is there already; give another --out"));
  const std::string text = initial_config(flags.init, reporter);
  if (out.empty()) {
    print(text);
  } else {
    core::write_file_atomic(out, text);
  }
}

// What the command line asks for.
std::vector<std::string> asked_of(const ConfigFlags& flags) {
  std::vector<std::string> asked;
  if (flags.action == "init") asked.emplace_back("init");
  if (flags.schema) asked.emplace_back("--schema");
  if (flags.markdown) asked.emplace_back("--markdown");
  if (!flags.explained.empty()) asked.emplace_back("--explain");
  return asked;
}

void refuse_of_init(const ConfigFlags& flags, const std::string& asked) {
  const InitSettings& s = flags.init;
  for (const auto& [flag, given] : {std::pair{"--model", !s.model.empty()},
                                    {"--data", !s.data.empty()},
                                    {"--eval-data", !s.eval_data.empty()},
                                    {"--knowledge", !s.knowledge.empty()},
                                    {"--out", !s.out.empty()}}) {
    if (given)
      throw core::ConfigError(
          core::concat(flag, " is for corda config init; ", asked, " does not look at it"));
  }
}

void run(ConfigFlags& flags, const CommonFlags& common, const CLI::App& app) {
  if (common.json) throw core::ConfigError("corda config prints text; leave --json out");
  const std::vector<std::string> asked = asked_of(flags);
  if (asked.size() > 1) {
    throw core::ConfigError(core::concat("corda config does one thing at a time, and ",
                                         core::join(asked, ", "), " are ", asked.size()));
  }
  if (flags.action != "init" && !asked.empty()) refuse_of_init(flags, asked.front());
  if (flags.action == "init") return init(flags, common);
  if (!flags.explained.empty()) return print(explain(flags.explained));
  if (flags.markdown) return print(settings_page(table_of(app)));
  if (!flags.schema) {
    throw core::ConfigError(
        "corda config wants one of: --schema, --markdown, --explain SETTING, init METHOD");
  }
  train::TrainSettings settings;
  print(train::settings_of(settings).json_schema("Settings of a training with corda") + "\n");
}

}  // namespace

void add_config(CLI::App& app, CommonFlags& common, Action& action) {
  CLI::App* verb = app.add_subcommand(
      "config", "Explain the settings of a training, or begin a file of them for your model.");
  const auto flags = std::make_shared<ConfigFlags>();
  verb->add_option("ACTION", flags->action, "init: print a commented file, or write it (--out)")
      ->check(CLI::IsMember({"init"}))
      ->type_name("init");
  verb->add_option("METHOD", flags->method, "of init: what is to be trained, and how it starts")
      ->check(CLI::IsMember(init_methods()))
      ->type_name(core::join(init_methods(), "|"));
  verb->add_flag("--schema", flags->schema, "print a JSON schema of train.yaml, which editors use");
  verb->add_flag("--markdown", flags->markdown,
                 "print every setting of a training and every flag of every verb as Markdown");
  verb->add_option("--explain", flags->explained,
                   "say what a setting of a training, or a flag of another verb, means")
      ->type_name("NAME");
  verb->add_option("--model", flags->init.model, core::kModelHelp)->type_name("PATH");
  verb->add_option("--data", flags->init.data, core::kDataHelp)->type_name("PATH");
  verb->add_option("--eval-data", flags->init.eval_data, "data to evaluate on")->type_name("PATH");
  verb->add_option("--knowledge", flags->init.knowledge,
                   "of kpa and dual: data that say what the model is to keep")
      ->type_name("PATH");
  verb->add_option("--out", flags->init.out, "file to write; without it the text goes to stdout")
      ->type_name("PATH");
  verb->callback([flags, &common, &app, &action] {
    action = [flags, &common, &app] { run(*flags, common, app); };
  });
}

}  // namespace corda::tools
