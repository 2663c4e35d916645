// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/task_score.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>

#include "corda/core/error.h"
#include "corda/data/vocabulary.h"
#include "eval/answer.h"
#include "eval/log_likelihood.h"
#include "eval/python_text.h"

namespace corda::eval {

namespace {

using Ids = std::vector<TokenId>;

// Keeps the last tokens that fit; the continuation must fit as a whole.
LikelihoodRequest request_of(Ids ids, std::size_t targets, const Item& item, std::int64_t most) {
  const auto count = static_cast<std::int64_t>(targets);
  if (count < 1 || count > most) {
    throw core::ConfigError(core::concat("a continuation of item ", item.number, " has ", count,
                                         " tokens; it must have 1 to ", most, " (--seq-len)"));
  }
  const auto keep = static_cast<std::size_t>(most) + 1;
  if (ids.size() > keep) ids.erase(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(keep));
  return {.ids = std::move(ids), .targets = count};
}

// Makes requests of a context and what follows it. White space at the context's end belongs to what
// follows.
std::vector<LikelihoodRequest> choice_requests(const TaskRun& run, const std::vector<Item>& items) {
  std::vector<std::string> texts;  // of each choice the context and the whole
  for (const Item& item : items) {
    for (std::size_t i = 0; i < item.continuations.size(); ++i) {
      const std::string& context = item.context_of(i);
      texts.push_back(context.substr(0, context.size() - spaces_at_end(context)));
      texts.push_back(context + item.continuations[i]);
    }
  }
  std::vector<Ids> ids = run.encoder.encode(texts, run.threads);
  std::vector<LikelihoodRequest> requests;
  std::size_t at = 0;
  for (const Item& item : items) {
    for (std::size_t i = 0; i < item.continuations.size(); ++i, at += 2) {
      Ids whole = std::move(ids[at + 1]);
      std::size_t before = std::min(ids[at].size(), whole.size());
      if (item.context_of(i).empty()) {
        // Something must stand before the first token: the prefix, unless the text has it.
        whole = run.encoder.encode_bare(item.continuations[i]);
        const TokenId prefix = run.encoder.prefix_token();
        if (whole.empty() || whole.front() != prefix) whole.insert(whole.begin(), prefix);
        before = 1;
      }
      const std::size_t targets = whole.size() - before;
      requests.push_back(request_of(std::move(whole), targets, item, run.max_length));
    }
  }
  return requests;
}

std::int64_t first_of_the_highest(const std::vector<double>& values) {
  return std::max_element(values.begin(), values.end()) - values.begin();
}

double choice_metric(const std::string& name, const Item& item, const ItemScore& score) {
  if (name == "exact_match") {
    return std::any_of(item.right.begin(), item.right.end(),
                       [&](std::int64_t i) { return score.greedy[static_cast<std::size_t>(i)]; });
  }
  std::vector<double> values = score.log_likelihoods;
  if (name == "acc_norm") {
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] /= static_cast<double>(count_characters(item.choices[i]));
  }
  const std::int64_t chosen = first_of_the_highest(values);
  return std::find(item.right.begin(), item.right.end(), chosen) != item.right.end() ? 1 : 0;
}

std::vector<ItemScore> score_choices(const TaskRun& run, const model::Model& model,
                                     const std::vector<Item>& items, core::Reporter& reporter) {
  const auto found =
      log_likelihoods(model, choice_requests(run, items), run.batch_tokens, reporter);
  std::vector<ItemScore> scores;
  std::size_t at = 0;
  for (const Item& item : items) {
    ItemScore score;
    for (std::size_t i = 0; i < item.continuations.size(); ++i, ++at) {
      score.log_likelihoods.push_back(found[at].sum);
      score.greedy.push_back(found[at].greedy);
    }
    for (const std::string& name : run.task.metrics)
      score.metrics.push_back(choice_metric(name, item, score));
    scores.push_back(std::move(score));
  }
  return scores;
}

// Cuts a page into windows in which each token is predicted once, the first one behind the prefix.
// The last window is as long as the others where the page is that long, so it sees more tokens in
// front.
std::vector<LikelihoodRequest> page_requests(const Ids& page, TokenId prefix, std::int64_t most) {
  std::vector<LikelihoodRequest> requests;
  const auto total = static_cast<std::int64_t>(page.size());
  for (std::int64_t done = 0; done < total; done += most) {
    const std::int64_t count = std::min(most, total - done);
    LikelihoodRequest request{.ids = {}, .targets = count};
    const std::int64_t begin = done == 0 ? 0 : done + count - most - 1;
    if (done == 0) request.ids.push_back(prefix);
    request.ids.insert(request.ids.end(), page.begin() + begin, page.begin() + done + count);
    requests.push_back(std::move(request));
  }
  return requests;
}

std::vector<ItemScore> score_pages(const TaskRun& run, const model::Model& model,
                                   const std::vector<Item>& items, core::Reporter& reporter) {
  std::vector<LikelihoodRequest> requests;
  std::vector<std::size_t> owner;
  const TokenId prefix = run.encoder.prefix_token();
  for (std::size_t i = 0; i < items.size(); ++i) {
    for (auto& request :
         page_requests(run.encoder.encode(items[i].contexts.front()), prefix, run.max_length)) {
      requests.push_back(std::move(request));
      owner.push_back(i);
    }
  }
  const auto found = log_likelihoods(model, requests, run.batch_tokens, reporter);
  std::vector<ItemScore> scores(items.size());
  for (ItemScore& score : scores) score.log_likelihoods = {0};
  for (std::size_t r = 0; r < found.size(); ++r)
    scores[owner[r]].log_likelihoods.front() += found[r].sum;
  return scores;
}

std::vector<Ids> answer_prompts_of(const TaskRun& run, const std::vector<Item>& items) {
  std::vector<Ids> prompts;
  if (run.chat != nullptr) {
    for (const Item& item : items) {
      std::vector<ChatMessage> messages;
      if (!run.system.empty()) messages.push_back({"system", run.system});
      messages.push_back({"user", item.contexts.front()});
      prompts.push_back(run.chat->ids_of(messages));
    }
  } else {
    std::vector<std::string> texts;
    for (const Item& item : items) texts.push_back(item.contexts.front());
    prompts = run.encoder.encode(texts, run.threads);
  }
  const std::int64_t most = run.max_length - run.answers.max_new_tokens;
  if (most < 1) {
    throw core::ConfigError(core::concat("no room for a prompt: answers of ",
                                         run.answers.max_new_tokens, " tokens of ", run.max_length,
                                         " in all; lower --max-new-tokens or raise --seq-len"));
  }
  for (Ids& ids : prompts) {
    if (static_cast<std::int64_t>(ids.size()) > most)
      ids.erase(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(most));
  }
  return prompts;
}

std::vector<ItemScore> score_answers(const TaskRun& run, const model::Model& model,
                                     const std::vector<Item>& items, core::Reporter& reporter) {
  auto answers = answer_prompts(model, run.tokenizer, answer_prompts_of(run, items), run.answers,
                                run.batch_tokens, reporter);
  std::vector<ItemScore> scores(items.size());
  for (std::size_t i = 0; i < items.size(); ++i) {
    scores[i].answer = std::move(answers[i]);
    for (const AnswerRule& rule : run.task.rules) {
      scores[i].extracted.push_back(extracted(rule, run.harness, scores[i].answer));
      scores[i].metrics.push_back(
          is_right(rule, scores[i].extracted.back(), items[i].references) ? 1 : 0);
    }
  }
  return scores;
}

void summarise_pages(const std::vector<Item>& items, const std::vector<ItemScore>& scores,
                     EvalResult& result) {
  double sum = 0;
  double words = 0;
  double bytes = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    sum += scores[i].log_likelihoods.front();
    words += static_cast<double>(items[i].words);
    bytes += static_cast<double>(items[i].bytes);
  }
  result.metrics = {{.name = "word_perplexity", .value = std::exp(-sum / words)},
                    {.name = "byte_perplexity", .value = std::exp(-sum / bytes)},
                    {.name = "bits_per_byte", .value = -sum / bytes / std::numbers::ln2}};
}

std::vector<Metric> means(const Task& task, const std::vector<const ItemScore*>& scores) {
  std::vector<Metric> metrics;
  const std::vector<std::string> names = item_metrics(task);
  for (std::size_t m = 0; m < names.size(); ++m) {
    std::vector<double> values;
    for (const ItemScore* score : scores) values.push_back(score->metrics[m]);
    metrics.push_back(mean_metric(names[m], values));
  }
  return metrics;
}

}  // namespace

std::vector<std::string> item_metrics(const Task& task) {
  std::vector<std::string> names = task.metrics;
  for (const AnswerRule& rule : task.rules) names.push_back(rule.metric);
  return names;
}

void require_rows(const TaskRun& run, const std::vector<Item>& items) {
  if (run.tokenizer.vocab_size() <= run.vocab_size) return;
  const data::Vocabulary vocabulary{run.tokenizer, run.vocab_size};
  if (run.task.kind == TaskKind::kAnswers) {
    const std::vector<Ids> prompts = answer_prompts_of(run, items);
    for (std::size_t i = 0; i < items.size(); ++i)
      data::require_rows(prompts[i], vocabulary, items[i].place);
    return;
  }
  for (const Item& item : items) {
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < item.continuations.size(); ++i)
      texts.push_back(item.context_of(i) + item.continuations[i]);
    if (texts.empty()) texts = item.contexts;
    for (const Ids& ids : run.encoder.encode(texts, run.threads))
      data::require_rows(ids, vocabulary, item.place);
  }
}

std::vector<ItemScore> score_items(const TaskRun& run, const model::Model& model,
                                   const std::vector<Item>& items, core::Reporter& reporter) {
  switch (run.task.kind) {
    case TaskKind::kChoices:
      return score_choices(run, model, items, reporter);
    case TaskKind::kAnswers:
      return score_answers(run, model, items, reporter);
    case TaskKind::kPages:
      return score_pages(run, model, items, reporter);
  }
  throw core::InternalError("a task of no kind");
}

Metric mean_metric(const std::string& name, const std::vector<double>& values) {
  const auto count = static_cast<double>(values.size());
  double sum = 0;
  for (const double value : values) sum += value;
  Metric metric{.name = name, .value = sum / count};
  if (values.size() < 2) return metric;
  double squares = 0;
  for (const double value : values) squares += (value - metric.value) * (value - metric.value);
  metric.error = std::sqrt(squares / (count - 1)) / std::sqrt(count);
  return metric;
}

void summarise(const Task& task, const std::vector<Item>& items,
               const std::vector<ItemScore>& scores, EvalResult& result) {
  result.task = task.name;
  result.samples = static_cast<std::int64_t>(items.size());
  if (task.kind == TaskKind::kPages) {
    summarise_pages(items, scores, result);
  } else {
    std::vector<const ItemScore*> all;
    std::map<std::string, std::vector<const ItemScore*>> groups;
    for (std::size_t i = 0; i < items.size(); ++i) {
      all.push_back(&scores[i]);
      if (!items[i].group.empty()) groups[items[i].group].push_back(&scores[i]);
    }
    result.metrics = means(task, all);
    for (const auto& [name, members] : groups) {
      result.groups.push_back({.name = name,
                               .items = static_cast<std::int64_t>(members.size()),
                               .metrics = means(task, members)});
    }
  }
  result.score_name = result.metrics.front().name;
  result.score = result.metrics.front().value;
}

}  // namespace corda::eval
