// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <cstdio>
#include <memory>

#include "commands.h"
#include "console_reporter.h"
#include "corda/inspect/inspect.h"

namespace corda::tools {

void add_inspect(CLI::App& app, CommonFlags& common, Action& action) {
  const auto settings = std::make_shared<inspect::InspectSettings>();
  const auto list = inspect::settings_of(*settings);
  CLI::App& verb = add_verb(
      app, "inspect",
      "Say what a directory is: a model, adapter, covariance or run, and what it goes with.", list,
      action, [settings, &common] {
        ConsoleReporter reporter(common.quiet);
        const std::string json = inspect::inspect_json(*settings, reporter);
        const std::string text = common.json ? json + "\n" : inspect::to_text(json);
        std::fwrite(text.data(), 1, text.size(), stdout);
      });
  give_positional(verb, list, "path");
}

}  // namespace corda::tools
