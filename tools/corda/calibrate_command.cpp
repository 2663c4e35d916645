// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "console_reporter.h"
#include "corda/calibrate/calibrate.h"

namespace corda::tools {

namespace {

void print(const calibrate::CalibrateSettings& settings, const calibrate::CalibrateResult& result,
           bool json) {
  if (json) {
    const nlohmann::ordered_json object = {{"out", settings.out},
                                           {"samples", result.samples},
                                           {"tokens", result.tokens},
                                           {"sites", result.sites},
                                           {"sites_skipped", result.sites_skipped},
                                           {"seconds", result.seconds},
                                           {"peak_memory_bytes", result.peak_memory_bytes}};
    print_json(object);
  } else {
    std::printf("%lld %s of %lld samples (%lld tokens) in %.1f s: %s\n",
                static_cast<long long>(result.sites),
                settings.of == "gradients" ? "Gram matrices of the gradients" : "covariances",
                static_cast<long long>(result.samples), static_cast<long long>(result.tokens),
                result.seconds, settings.out.c_str());
  }
}

}  // namespace

void add_calibrate(CLI::App& app, CommonFlags& common, Action& action) {
  const auto settings = std::make_shared<calibrate::CalibrateSettings>();
  add_verb(app, "calibrate",
           "Collect the input covariance of every linear layer, or its gradients' Gram matrix.",
           calibrate::settings_of(*settings), action, [settings, &common] {
             ConsoleReporter reporter(common.quiet, !common.prints);
             const auto result = calibrate::calibrate(*settings, reporter, *common.world);
             if (common.prints) print(*settings, result, common.json);
           });
}

}  // namespace corda::tools
