// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "console_reporter.h"
#include "corda/calibrate/calibrate.h"
#include "flags.h"

namespace corda::tools {

void add_calibrate(CLI::App& app, CommonFlags& common, Action& action) {
  CLI::App* verb =
      app.add_subcommand("calibrate", "Collect the input covariance of every linear layer.");
  const auto settings = std::make_shared<calibrate::CalibrateSettings>();
  const auto list = calibrate::settings_of(*settings);
  add_flags(*verb, list);
  verb->callback([settings, list, &common, &action] {
    action = [settings, list, &common] {
      list.check_required();
      ConsoleReporter reporter(common.quiet);
      const auto result = calibrate::calibrate(*settings, reporter);
      if (common.json) {
        const nlohmann::ordered_json object = {{"out", settings->out},
                                               {"samples", result.samples},
                                               {"tokens", result.tokens},
                                               {"sites", result.sites},
                                               {"sites_skipped", result.sites_skipped},
                                               {"seconds", result.seconds},
                                               {"peak_memory_bytes", result.peak_memory_bytes}};
        std::printf("%s\n", object.dump().c_str());
      } else {
        std::printf("%lld covariances of %lld samples (%lld tokens) in %.1f s: %s\n",
                    static_cast<long long>(result.sites), static_cast<long long>(result.samples),
                    static_cast<long long>(result.tokens), result.seconds, settings->out.c_str());
      }
    };
  });
}

}  // namespace corda::tools
