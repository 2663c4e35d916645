// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "console_reporter.h"
#include "corda/quantize/quantize.h"

namespace corda::tools {

namespace {

void print(const quantize::QuantizeSettings& settings, const quantize::QuantizeResult& result,
           bool json) {
  const bool informed = !settings.covariance.empty();
  if (json) {
    nlohmann::ordered_json object = {{"out", settings.out},     {"to", settings.to},
                                     {"layers", result.layers}, {"shards", result.shards},
                                     {"bytes", result.bytes},   {"seconds", result.seconds}};
    if (informed) {
      object["output_error"] = result.output_error;
      object["plain_error"] = result.plain_error;
    }
    print_json(object);
    return;
  }
  std::printf("%lld layers in %s, %.3f GB in %.1f s: %s\n", static_cast<long long>(result.layers),
              settings.to.c_str(), static_cast<double>(result.bytes) / 1e9, result.seconds,
              settings.out.c_str());
  if (informed) {
    std::printf("error of the layers' outputs %.2e of their energy, %.2e rounded to nearest\n",
                result.output_error, result.plain_error);
  }
}

}  // namespace

void add_quantize(CLI::App& app, CommonFlags& common, Action& action) {
  const auto settings = std::make_shared<quantize::QuantizeSettings>();
  add_verb(app, "quantize", "Write a model in 4 or 8 bits, as transformers and vLLM load it.",
           quantize::settings_of(*settings), action, [settings, &common] {
             ConsoleReporter reporter(common.quiet);
             print(*settings, quantize::quantize(*settings, reporter), common.json);
           });
}

}  // namespace corda::tools
