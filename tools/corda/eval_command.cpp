// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "console_reporter.h"
#include "corda/eval/eval.h"
#include "flags.h"

namespace corda::tools {

void add_eval(CLI::App& app, CommonFlags& common, Action& action) {
  CLI::App* verb =
      app.add_subcommand("eval", "Measure perplexity or closed-book question answering.");
  const auto settings = std::make_shared<eval::EvalSettings>();
  const auto list = eval::settings_of(*settings);
  add_flags(*verb, list);
  verb->callback([settings, list, &common, &action] {
    action = [settings, list, &common] {
      list.check_required();
      ConsoleReporter reporter(common.quiet);
      const auto result = eval::evaluate(*settings, reporter);
      if (common.json) {
        const nlohmann::ordered_json object = {{"task", result.task},
                                               {"score", result.score},
                                               {"score_name", result.score_name},
                                               {"nll", result.nll},
                                               {"perplexity", result.perplexity},
                                               {"tokens", result.tokens},
                                               {"samples", result.samples}};
        std::printf("%s\n", object.dump().c_str());
      } else {
        std::printf(
            "%s %.4f  (nll %.4f a token, perplexity %.4f; %lld samples, %lld target tokens)\n",
            result.score_name.c_str(), result.score, result.nll, result.perplexity,
            static_cast<long long>(result.samples), static_cast<long long>(result.tokens));
      }
    };
  });
}

}  // namespace corda::tools
