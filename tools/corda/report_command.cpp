// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "console_reporter.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/inspect/inspect.h"
#include "corda/report/report.h"

namespace corda::tools {

namespace {

struct ReportFlags {
  report::ReportSettings settings;
  bool spectra = false;
};

void print_report(const ReportFlags& flags, const CommonFlags& common) {
  ConsoleReporter reporter(common.quiet);
  report::Supplement supplement{.program = std::string("corda ") + CORDA_VERSION};
  if (flags.spectra) {
    for (const std::string& run : flags.settings.runs) {
      if (!core::fs::exists(core::fs::path(run) / "adapter")) {
        reporter.warn(core::concat("--spectra: the run '", run, "' has no adapter"));
        continue;
      }
      supplement.inspected[run] =
          inspect::inspect_json({.path = run, .model = "", .spectra = true}, reporter);
    }
  }
  const std::string page = report::report(flags.settings, reporter, supplement);
  if (common.json) {
    print_json({{"out", flags.settings.out},
                {"runs", flags.settings.runs.size()},
                {"bytes", page.size()}});
  } else if (flags.settings.out.empty()) {
    std::fwrite(page.data(), 1, page.size(), stdout);
  } else {
    std::printf("%zu bytes: %s\n", page.size(), flags.settings.out.c_str());
  }
}

}  // namespace

void add_report(CLI::App& app, CommonFlags& common, Action& action) {
  const auto flags = std::make_shared<ReportFlags>();
  auto list = report::settings_of(flags->settings);
  list.add("spectra", flags->spectra,
           "also the size and the singular values of every layer's update, as corda inspect "
           "--spectra");
  CLI::App& verb =
      add_verb(app, "report", "Make one page of one or several runs: curves, comparison, layers.",
               list, action, [flags, &common] { print_report(*flags, common); });
  verb.add_option_function<std::vector<std::string>>(
          "RUN",
          [read = list.find("runs")->read](const std::vector<std::string>& values) {
            read(core::ConfigNode::list(values));
          },
          list.find("runs")->help)
      ->type_name("PATH");
}

}  // namespace corda::tools
