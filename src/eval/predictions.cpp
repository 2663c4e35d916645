// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/predictions.h"

#include <algorithm>
#include <cmath>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"
#include "core/json.h"

namespace corda::eval {

using core::concat;
using core::Json;

namespace {

// The members of a line that say what was asked.
Json question(const Task& task, const Item& item) {
  Json object = {{"task", task.name}, {"item", item.number}};
  if (item.contexts.size() == 1) {
    object["prompt"] = item.contexts.front();
  } else {
    object["prompt"] = item.contexts;
  }
  if (task.kind == TaskKind::kChoices) {
    object["choices"] = item.continuations;
    object["right"] = item.right;
  }
  return object;
}

Json prediction(const Task& task, const Item& item, const ItemScore& score) {
  Json object = question(task, item);
  if (!score.log_likelihoods.empty()) object["log_likelihoods"] = score.log_likelihoods;
  if (!score.greedy.empty()) object["greedy"] = score.greedy;
  const std::vector<std::string> names = item_metrics(task);
  if (task.kind == TaskKind::kAnswers) {
    object["answer"] = score.answer;
    object["references"] = item.references;
    for (std::size_t m = 0; m < names.size(); ++m)
      object["extracted"][names[m]] = score.extracted[m];
  }
  for (std::size_t m = 0; m < names.size(); ++m) object["scores"][names[m]] = score.metrics[m];
  return object;
}

constexpr const char* kSameQuestions =
    "; --compare takes what --predictions wrote with the same --task, --data, --samples, --shots "
    "and --harness";

std::vector<Json> read_lines(const std::filesystem::path& path) {
  std::vector<Json> lines;
  std::int64_t number = 0;
  const std::string content = core::read_file(path);
  for (const std::string& line : core::split(content, '\n')) {
    ++number;
    if (!line.empty()) lines.push_back(core::parse_json(line, path.string(), number));
  }
  return lines;
}

double other_score(const Json& line, const std::string& metric, const std::string& place) {
  const auto scores = line.find("scores");
  if (scores == line.end() || !scores->is_object() || !scores->contains(metric) ||
      !scores->at(metric).is_number()) {
    throw core::FormatError(concat(place, ": there is no score '", metric,
                                   "'; --compare takes what --predictions wrote"));
  }
  return scores->at(metric).get<double>();
}

}  // namespace

void check_can_hold(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.parent_path();
  if (!folder.empty() && !std::filesystem::is_directory(folder))
    throw core::ConfigError(concat("'", path.string(), "' cannot be written: there is no folder '",
                                   folder.string(), "'"));
  if (std::filesystem::is_directory(path))
    throw core::ConfigError(concat("'", path.string(), "' is a folder; name a file"));
}

void write_predictions(const std::filesystem::path& path, const Task& task,
                       const std::vector<Item>& items, const std::vector<ItemScore>& scores) {
  std::string content;
  for (std::size_t i = 0; i < items.size(); ++i)
    content += core::json_line(prediction(task, items[i], scores[i])) + "\n";
  core::write_file_atomic(path, content);
}

double mcnemar(std::int64_t gained, std::int64_t lost) {
  const auto n = static_cast<double>(gained + lost);
  double sum = 0;  // sum of C(n, i) / 2^n up to the smaller count, by logarithms
  for (std::int64_t i = 0; i <= std::min(gained, lost); ++i) {
    const auto k = static_cast<double>(i);
    sum += std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) -
                    n * std::log(2.0));
  }
  return std::min(1.0, 2 * sum);
}

std::vector<std::vector<double>> read_scores(const std::filesystem::path& path, const Task& task,
                                             const std::vector<Item>& items) {
  const std::vector<std::string> names = item_metrics(task);
  if (names.empty()) {
    throw core::ConfigError(
        concat("--compare counts items that are right or wrong; those of ", task.name, " are not"));
  }
  const std::vector<Json> lines = read_lines(path);
  if (lines.size() != items.size()) {
    throw core::FormatError(concat(path.string(), " has ", lines.size(), " items; ", items.size(),
                                   " are asked here", kSameQuestions));
  }
  std::vector<std::vector<double>> scores;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string place = concat(path.string(), ":", i + 1);
    // The question goes through text, as the file's line did, since bytes that are no UTF-8 are
    // replaced there.
    const Json asked = Json::parse(core::json_line(question(task, items[i])));
    for (const auto& [key, value] : asked.items()) {
      if (!lines[i].is_object() || lines[i].value(key, Json()) != value)
        throw core::FormatError(
            concat(place, ": the ", key, " is not that of item ", i, " here", kSameQuestions));
    }
    std::vector<double>& of_item = scores.emplace_back();
    for (const std::string& name : names) of_item.push_back(other_score(lines[i], name, place));
  }
  return scores;
}

std::vector<Comparison> compare_scores(const Task& task,
                                       const std::vector<std::vector<double>>& there,
                                       const std::vector<ItemScore>& here) {
  std::vector<Comparison> comparisons;
  const std::vector<std::string> names = item_metrics(task);
  for (std::size_t m = 0; m < names.size(); ++m) {
    Comparison compared{.metric = names[m]};
    for (std::size_t i = 0; i < here.size(); ++i) {
      compared.other += there[i][m] / static_cast<double>(here.size());
      compared.gained += here[i].metrics[m] > there[i][m] ? 1 : 0;
      compared.lost += here[i].metrics[m] < there[i][m] ? 1 : 0;
    }
    compared.p = mcnemar(compared.gained, compared.lost);
    comparisons.push_back(compared);
  }
  return comparisons;
}

}  // namespace corda::eval
