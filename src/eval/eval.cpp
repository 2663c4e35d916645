// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/eval/eval.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <memory>

#include "corda/card/card.h"
#include "corda/core/error.h"
#include "corda/core/sha256.h"
#include "corda/core/text.h"
#include "corda/data/load.h"
#include "corda/data/template.h"
#include "corda/data/vocabulary.h"
#include "corda/dist/watchful_reporter.h"
#include "corda/linalg/device.h"
#include "corda/model/config.h"
#include "corda/tokenizer/tokenizer.h"
#include "eval/answer.h"
#include "eval/load_model.h"
#include "eval/perplexity.h"
#include "eval/predictions.h"
#include "eval/score_exchange.h"
#include "eval/scorer_answers.h"
#include "eval/task_items.h"
#include "eval/task_score.h"
#include "eval/unused_settings.h"

namespace corda::eval {

using core::concat;
using tokenizer::TokenId;
using tokenizer::Tokenizer;

namespace {

model::Model load(const EvalSettings& settings, core::Reporter& reporter, dist::World& world) {
  return load_model(choice_of(settings), reporter, {}, world);
}

// Ranks of one evaluation must measure the same with the same model.
void require_same_evaluation(dist::World& world, const EvalSettings& settings,
                             core::Sha256& content) {
  if (world.is_alone()) return;
  EvalSettings copy = settings;
  for (std::string* place : {&copy.model, &copy.adapter, &copy.predictions, &copy.compare})
    place->clear();
  copy.data.clear();
  copy.shots_data.clear();
  copy.threads = 0;
  core::ConfigNode job = settings_of(copy).resolved();
  const io::Checkpoint files(settings.model);
  const auto add = [&](const char* name, const std::string& value) {
    job.entries.emplace_back(name, core::ConfigNode::scalar(value));
  };
  add("content of model", files.fingerprint());
  add("config.json", model::config_fingerprint(settings.model));
  if (!settings.adapter.empty())
    add("content of adapter", io::Checkpoint(settings.adapter, "adapter_model").fingerprint());
  add("content of data", content.hex_digest());
  dist::require_same_job(world, job);
}

EvalResult evaluate_perplexity(const EvalSettings& settings, core::Reporter& reporter,
                               dist::World& world) {
  const std::vector<data::Sample> samples = perplexity_samples(settings, reporter);
  core::Sha256 content;
  for (const data::Sample& sample : samples) {
    for (const TokenId id : sample.ids) content.update(concat(id, " "));
    content.update("\n");
  }
  require_same_evaluation(world, settings, content);
  EvalResult result{.task = "perplexity", .score_name = "perplexity"};
  result.samples = static_cast<std::int64_t>(samples.size());
  measure_nll(load(settings, reporter, world), samples, settings, result, reporter, world);
  result.score = result.perplexity;
  return result;
}

// The first answer to each question, behind a space and before EOS.
std::vector<data::Sample> answer_samples(const TaskRun& run, const std::vector<Item>& items) {
  std::vector<data::Sample> samples;
  for (const Item& item : items) {
    samples.push_back(data::encode_sample(
        run.tokenizer,
        {.prompt = item.contexts.front(), .response = " " + item.references.front()}));
    data::require_rows(samples.back().ids, {run.tokenizer, run.vocab_size}, item.place);
  }
  return samples;
}

std::vector<TaskRecord> records_of(const Task& task, const EvalSettings& settings,
                                   const std::vector<std::string>& paths,
                                   core::Reporter& reporter) {
  std::vector<TaskRecord> records;
  for (const auto& file : files_of(settings, paths, "auto")) {
    auto loaded = read_task_records(task, file, settings.skip_bad, reporter);
    records.insert(records.end(), std::make_move_iterator(loaded.begin()),
                   std::make_move_iterator(loaded.end()));
  }
  if (records.empty()) throw core::ConfigError("the data has no record to ask");
  return records;
}

// All items that are asked, in the order of the data.
std::vector<Item> items_of(const Task& task, const EvalSettings& settings, std::int64_t shots,
                           core::Reporter& reporter) {
  std::vector<TaskRecord> records = records_of(task, settings, settings.data, reporter);
  std::vector<TaskRecord> pool;
  if (shots > 0)
    pool = settings.shots_data.empty() ? records
                                       : records_of(task, settings, settings.shots_data, reporter);
  if (settings.samples > 0 && static_cast<std::int64_t>(records.size()) > settings.samples)
    records.resize(static_cast<std::size_t>(settings.samples));
  return make_items(task, harness_named(settings.harness), records, pool, shots);
}

// The settings of answers with what the task gives.
AnswerSettings answers_of(const Task& task, const AnswerSettings& asked) {
  AnswerSettings settings = asked;
  if (settings.max_new_tokens == 0) settings.max_new_tokens = task.max_new_tokens;
  settings.stop = task.stops;
  settings.stop.insert(settings.stop.end(), asked.stop.begin(), asked.stop.end());
  return settings;
}

TaskRun run_of(const Task& task, const Tokenizer& tokenizer, const EvalSettings& settings) {
  const model::ModelDescription config =
      model::read_model_config(settings.model, settings.assume_family);
  const HarnessVersion& harness = harness_named(settings.harness);
  TaskRun run{.task = task,
              .harness = harness,
              .tokenizer = tokenizer,
              .encoder = PromptEncoder(tokenizer, harness, settings.bos, task.literal),
              .chat = nullptr,
              .system = settings.system,
              .answers = answers_of(task, settings.answers),
              .max_length = settings.seq_len > 0 ? settings.seq_len : config.max_positions,
              .vocab_size = config.vocab_size,
              .batch_tokens = settings.batch_tokens,
              .threads = settings.threads};
  if (!is_chat_template(settings.template_name)) return run;
  if (task.kind != TaskKind::kAnswers) {
    throw core::ConfigError(concat("--template is for answers that are generated; the task ",
                                   task.name, " scores given texts"));
  }
  run.chat = std::make_shared<ChatPrompts>(settings.template_name, settings.model, tokenizer,
                                           settings.date);
  return run;
}

EvalResult evaluate_task(const EvalSettings& settings, core::Reporter& reporter,
                         dist::World& world) {
  const Task& task = task_named(settings.task);
  check_stops(settings.answers.stop);
  const std::int64_t shots = settings.shots < 0 ? task.shots : settings.shots;
  const auto tokenizer = tokenizer::load_tokenizer(settings.model);
  const TaskRun run = run_of(task, *tokenizer, settings);
  const std::vector<Item> items = items_of(task, settings, shots, reporter);
  require_rows(run, items);
  const bool plain_qa = task.name == "qa" && run.chat == nullptr && shots == 0;
  const std::vector<data::Sample> answers =
      plain_qa ? answer_samples(run, items) : std::vector<data::Sample>();
  core::Sha256 content;
  for (const Item& item : items) {
    for (const auto* texts : {&item.contexts, &item.continuations, &item.references})
      for (const auto& text : *texts) content.update(concat(text.size(), " ", text));
  }
  require_same_evaluation(world, settings, content);
  // What is wrong with the files shows before hours of work.
  std::vector<std::vector<double>> others;
  if (!settings.compare.empty()) others = read_scores(settings.compare, task, items);
  if (!settings.predictions.empty() && world.is_first()) check_can_hold(settings.predictions);
  const model::Model model = load(settings, reporter, world);

  EvalResult result{.harness = run.harness.name, .bos = run.encoder.bos(), .shots = shots};
  if (plain_qa) measure_nll(model, answers, settings, result, reporter, world);
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<std::size_t> indices = own_items(world, items);
  std::vector<Item> own;
  for (const std::size_t i : indices) own.push_back(items[i]);
  const std::vector<ItemScore> scores =
      all_scores(world, indices, score_items(run, model, own, reporter), items.size());
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  summarise(task, items, scores, result);
  if (task.name == "qa") result.score *= 100;
  if (!settings.compare.empty()) result.comparisons = compare_scores(task, others, scores);
  if (!settings.predictions.empty() && world.is_first())
    write_predictions(settings.predictions, task, items, scores);
  return result;
}

// How a result was measured, as its row of a card says it.
std::string conditions_of(const EvalSettings& settings, const EvalResult& result,
                          at::Device device) {
  const bool wide = linalg::dtype_of(settings.dtype, device) == at::kFloat;
  std::vector<std::string> parts = {concat(result.samples, " samples")};
  if (result.harness.empty()) {
    parts.push_back(concat(result.tokens, " target tokens"));
  } else {
    parts.push_back(concat(result.shots, " shots, as lm-evaluation-harness ", result.harness));
  }
  if (settings.template_name != "auto") {
    const auto name = std::filesystem::path(settings.template_name).filename().string();
    parts.push_back(concat("template ", name));
  }
  if (settings.base != "auto") parts.push_back(concat("base in ", settings.base));
  parts.emplace_back(wide ? "fp32" : "bf16");
  return core::join(parts, ", ");
}

// What goes into a card: the metrics of a task, and the loss of the text or the answers.
std::vector<card::Score> scores_of(const EvalSettings& settings, const EvalResult& result,
                                   at::Device device) {
  card::Score score{.task = result.task,
                    .data = settings.data,
                    .conditions = conditions_of(settings, result, device)};
  std::vector<card::Score> scores;
  const auto add = [&](const std::string& metric, double value, std::optional<double> error) {
    score.metric = metric;
    score.value = value;
    score.error = error;
    scores.push_back(score);
  };
  for (const Metric& metric : result.metrics) add(metric.name, metric.value, metric.error);
  if (result.tokens > 0) {
    add("loss of a token", result.nll, std::nullopt);
    add("perplexity", result.perplexity, std::nullopt);
  }
  return scores;
}

}  // namespace

EvalResult evaluate(const EvalSettings& given, core::Reporter& told, dist::World& world) {
  dist::WatchfulReporter reporter(told, world);
  EvalSettings settings = given;
  settings_of(settings).check_values();
  refuse_unused_settings(settings);
  settings.threads = world.threads(settings.threads);
  linalg::set_threads(settings.threads);
  if (settings.task == "generate") {
    if (!world.is_alone())
      throw core::ConfigError("--task generate runs as one process; start one, without --gpus");
    if (settings.card)
      throw core::ConfigError("--card is for scores, and --task generate leaves them to others");
    return generate_answers(settings, reporter);
  }
  const std::string& judged = settings.adapter.empty() ? settings.model : settings.adapter;
  const bool writes_card = settings.card && world.is_first();
  if (writes_card) card::require_own_card(judged);
  const EvalResult result = settings.task == "perplexity"
                                ? evaluate_perplexity(settings, reporter, world)
                                : evaluate_task(settings, reporter, world);
  if (writes_card)
    card::add_scores(judged, scores_of(settings, result, world.device_of(settings.device)));
  return result;
}

}  // namespace corda::eval
