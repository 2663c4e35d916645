// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <cstdio>
#include <memory>

#include "commands.h"
#include "console_reporter.h"
#include "corda/eval/eval.h"
#include "corda/eval/result_json.h"

namespace corda::tools {

namespace {

void print_metric(const char* indent, const eval::Metric& metric) {
  std::printf("%s%s %.4f", indent, metric.name.c_str(), metric.value);
  if (metric.error) std::printf(" +- %.4f", *metric.error);
}

void print_text(const eval::EvalResult& result) {
  const auto count = [](std::int64_t value) { return static_cast<long long>(value); };
  if (result.task == "generate") {
    std::printf("%lld questions of %s answered\n", count(result.samples),
                result.score_name.c_str());
    return;
  }
  if (result.tokens > 0) {
    std::printf("%s %.4f  (nll %.4f a token, perplexity %.4f; %lld samples, %lld target tokens)\n",
                result.score_name.c_str(), result.score, result.nll, result.perplexity,
                count(result.samples), count(result.tokens));
  }
  if (result.harness.empty()) return;
  std::printf("%s, %lld samples, %lld shots, BOS %s, as lm-evaluation-harness %s\n",
              result.task.c_str(), count(result.samples), count(result.shots), result.bos.c_str(),
              result.harness.c_str());
  for (const auto& metric : result.metrics) {
    print_metric("  ", metric);
    std::printf("\n");
  }
  for (const auto& group : result.groups) {
    std::printf("    %-40s %6lld", group.name.c_str(), count(group.items));
    for (const auto& metric : group.metrics) print_metric("  ", metric);
    std::printf("\n");
  }
  for (const auto& compared : result.comparisons) {
    std::printf("  %s %.4f there: %lld items gained, %lld lost (McNemar's test, p = %.4g)\n",
                compared.metric.c_str(), compared.other, count(compared.gained),
                count(compared.lost), compared.p);
  }
}

}  // namespace

void add_eval(CLI::App& app, CommonFlags& common, Action& action) {
  const auto settings = std::make_shared<eval::EvalSettings>();
  add_verb(app, "eval",
           "Measure perplexity or a task of lm-evaluation-harness, or write answers for a scorer.",
           eval::settings_of(*settings), action, [settings, &common] {
             ConsoleReporter reporter(common.quiet, !common.prints);
             const eval::EvalResult result = eval::evaluate(*settings, reporter, *common.world);
             if (!common.prints) return;
             if (common.json) {
               std::printf("%s\n", eval::result_json(result).c_str());
             } else {
               print_text(result);
             }
           });
}

}  // namespace corda::tools
