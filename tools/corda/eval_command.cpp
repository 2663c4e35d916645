// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "console_reporter.h"
#include "corda/eval/eval.h"

namespace corda::tools {

namespace {

void print(const eval::EvalResult& result, bool json) {
  if (json) {
    const nlohmann::ordered_json object = {{"task", result.task},
                                           {"score", result.score},
                                           {"score_name", result.score_name},
                                           {"nll", result.nll},
                                           {"perplexity", result.perplexity},
                                           {"tokens", result.tokens},
                                           {"samples", result.samples}};
    print_json(object);
  } else {
    std::printf("%s %.4f  (nll %.4f a token, perplexity %.4f; %lld samples, %lld target tokens)\n",
                result.score_name.c_str(), result.score, result.nll, result.perplexity,
                static_cast<long long>(result.samples), static_cast<long long>(result.tokens));
  }
}

}  // namespace

void add_eval(CLI::App& app, CommonFlags& common, Action& action) {
  const auto settings = std::make_shared<eval::EvalSettings>();
  add_verb(app, "eval", "Measure perplexity or closed-book question answering.",
           eval::settings_of(*settings), action, [settings, &common] {
             ConsoleReporter reporter(common.quiet, !common.prints);
             print(eval::evaluate(*settings, reporter), common.json);
           });
}

}  // namespace corda::tools
