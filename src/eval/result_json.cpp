// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/eval/result_json.h"

#include "core/json.h"

namespace corda::eval {

using core::Json;

namespace {

Json metrics_json(const std::vector<Metric>& metrics) {
  Json object = Json::object();
  for (const auto& metric : metrics) {
    object[metric.name] = {{"value", metric.value}};
    if (metric.error) object[metric.name]["standard_error"] = *metric.error;
  }
  return object;
}

Json json_of(const EvalResult& result) {
  Json object = {{"task", result.task}};
  if (result.task != "generate") object["score"] = result.score;
  object["score_name"] = result.score_name;
  if (result.tokens > 0) {
    object["nll"] = result.nll;
    object["perplexity"] = result.perplexity;
    object["tokens"] = result.tokens;
  }
  object["samples"] = result.samples;
  if (!result.bos.empty()) object["bos"] = result.bos;
  if (result.harness.empty()) return object;
  object["harness"] = result.harness;
  object["shots"] = result.shots;
  object["seconds"] = result.seconds;
  object["metrics"] = metrics_json(result.metrics);
  for (const auto& group : result.groups)
    object["groups"][group.name] = {{"samples", group.items},
                                    {"metrics", metrics_json(group.metrics)}};
  for (const auto& compared : result.comparisons) {
    object["compare"][compared.metric] = {{"other", compared.other},
                                          {"gained", compared.gained},
                                          {"lost", compared.lost},
                                          {"p", compared.p}};
  }
  return object;
}

}  // namespace

std::string result_json(const EvalResult& result) { return core::json_line(json_of(result)); }

}  // namespace corda::eval
