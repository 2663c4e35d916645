// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/scorer_answers.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"
#include "corda/data/load.h"
#include "corda/jinja/template.h"
#include "corda/model/config.h"
#include "data/chat_template.h"
#include "data/record_stream.h"
#include "eval/answer.h"
#include "eval/chat_prompt.h"
#include "eval/load_model.h"
#include "eval/predictions.h"
#include "eval/prompt_encoder.h"
#include "jinja/json_value.h"

namespace corda::eval {

using core::concat;
using core::Json;

namespace {

using Ids = std::vector<TokenId>;

std::vector<Json> read_records(const std::vector<std::string>& paths) {
  std::vector<Json> records;
  for (const std::string& path : paths) {
    data::RecordStream stream({.path = path, .format = "qa"});
    while (auto raw = stream.next_raw())
      records.push_back(data::parse_record(std::move(*raw), path).value);
  }
  if (records.empty()) throw core::ConfigError("the data has no question to ask");
  return records;
}

// Jinja of a form over a record; a template takes one line break from its source's end.
std::string written(const std::string& source, const Json& record) {
  if (source.empty()) return "";
  return jinja::Template(source + "\n", "form").render(jinja::from_json(record)).text;
}

const ScorerForm& form_of_all(const std::vector<Json>& records) {
  const ScorerForm* form = form_of(records.front());
  if (form == nullptr) {
    std::vector<std::string> known;
    for (const ScorerForm& each : scorer_forms())
      known.push_back(concat(each.name, " (", core::join(each.columns, ", "), ")"));
    throw core::FormatError(
        concat("the data are of no scorer that --task generate knows; it knows "
               "them by their columns: ",
               core::join(known, "; ")));
  }
  for (std::size_t i = 0; i < records.size(); ++i) {
    for (const std::string& column : form->columns) {
      if (!records[i].is_object() || !records[i].contains(column))
        throw core::FormatError(
            concat("question ", i + 1, " of the data has no column '", column, "'"));
    }
  }
  return *form;
}

// One run: what is asked, how, and what came of it.
class ScorerRun {
 public:
  ScorerRun(const EvalSettings& settings, core::Reporter& reporter)
      : settings_(settings),
        reporter_(reporter),
        records_(read_records(settings.data)),
        form_(form_of_all(records_)),
        tokenizer_(tokenizer::load_tokenizer(settings.model)),
        encoder_(*tokenizer_, harness_named(settings.harness), settings.bos, /*literal=*/true) {
    choose_records();
    const std::string name = template_for(settings.template_name, settings.adapter);
    const bool own = data::ChatTemplate::model_has_one(settings.model);
    const bool answers_messages =
        is_chat_template(settings.template_name) ||
        (form_.chats && settings.template_name == "auto" && (own || is_chat_template(name)));
    if (answers_messages) {
      chat_ = std::make_unique<ChatPrompts>(name, settings.model, *tokenizer_, settings.date);
    } else if (!form_.turns.empty()) {
      throw core::ConfigError(core::concat(
          form_.name, " asks in turns, which a chat template must put: --template names one"));
    }
  }

  std::int64_t questions() const { return static_cast<std::int64_t>(records_.size()); }
  const ScorerForm& form() const { return form_; }
  std::string bos() const { return encoder_.bos(); }

  // The lines of the file.
  std::string lines() {
    const model::ModelDescription config =
        model::read_model_config(settings_.model, settings_.assume_family);
    most_ = settings_.seq_len > 0 ? settings_.seq_len : config.max_positions;
    const model::Model model = load_model(choice_of(settings_), reporter_);
    answers_.assign(records_.size(), {});
    if (form_.turns.empty()) {
      ask(model, 0);
    } else {
      std::size_t turns = 0;
      for (const Json& record : records_) turns = std::max(turns, turns_of(record).size());
      for (std::size_t turn = 0; turn < turns; ++turn) ask(model, turn);
    }
    std::string lines;
    for (std::size_t i = 0; i < records_.size(); ++i)
      lines += core::json_line(form_.line(records_[i], answers_[i], settings_.model)) + "\n";
    return lines;
  }

 private:
  void choose_records() {
    if (form_.is_example != nullptr) {
      const std::vector<Json> shown =
          settings_.shots_data.empty() ? records_ : read_records(settings_.shots_data);
      for (const Json& record : shown) {
        if (form_.is_example(record))
          examples_ += written(form_.prompt, record) + written(form_.example, record);
      }
      if (examples_.empty())
        reporter_.warn(concat(form_.name,
                              " is asked without its examples: neither --data nor "
                              "--shots-data has their records"));
    }
    if (form_.is_asked != nullptr &&
        std::any_of(records_.begin(), records_.end(), form_.is_asked)) {
      std::erase_if(records_, [&](const Json& record) { return !form_.is_asked(record); });
    }
    if (settings_.samples > 0 && questions() > settings_.samples)
      records_.resize(static_cast<std::size_t>(settings_.samples));
  }

  std::vector<std::string> turns_of(const Json& record) const {
    return core::parse_json(written(form_.turns, record), "turns").get<std::vector<std::string>>();
  }

  // The ids of a turn's prompt; nullopt where the record has no such turn.
  std::optional<Ids> prompt_of(std::size_t i, std::size_t turn) const {
    const Json& record = records_[i];
    if (chat_ == nullptr) return encoder_.encode(examples_ + written(form_.prompt, record));
    std::vector<std::string> asked;
    if (form_.turns.empty()) {
      asked = {written(form_.message.empty() ? form_.prompt : form_.message, record)};
    } else {
      asked = turns_of(record);
    }
    if (turn >= asked.size()) return std::nullopt;
    std::vector<ChatMessage> messages;
    if (!settings_.system.empty()) messages.push_back({"system", settings_.system});
    for (std::size_t t = 0; t < turn; ++t) {
      messages.push_back({"user", asked[t]});
      messages.push_back({"assistant", answers_[i][t]});
    }
    messages.push_back({"user", asked[turn]});
    return chat_->ids_of(messages);
  }

  // Answers of one temperature are generated together.
  void ask(const model::Model& model, std::size_t turn) {
    std::map<double, std::vector<std::size_t>> groups;
    for (std::size_t i = 0; i < records_.size(); ++i) {
      const bool own = form_.temperature != nullptr && settings_.answers.temperature == 0;
      groups[own ? form_.temperature(records_[i]) : settings_.answers.temperature].push_back(i);
    }
    for (const auto& [temperature, members] : groups) {
      AnswerSettings answers = settings_.answers;
      answers.temperature = temperature;
      answers.seed += static_cast<std::int64_t>(turn);
      if (answers.max_new_tokens == 0) answers.max_new_tokens = form_.max_new_tokens;
      if (chat_ == nullptr)
        answers.stop.insert(answers.stop.begin(), form_.stops.begin(), form_.stops.end());
      std::vector<Ids> prompts;
      std::vector<std::size_t> owners;
      for (const std::size_t i : members) {
        auto prompt = prompt_of(i, turn);
        if (!prompt) continue;
        check_fits(i, static_cast<std::int64_t>(prompt->size()), answers.max_new_tokens);
        prompts.push_back(std::move(*prompt));
        owners.push_back(i);
      }
      auto texts =
          answer_prompts(model, *tokenizer_, prompts, answers, settings_.batch_tokens, reporter_);
      for (std::size_t j = 0; j < owners.size(); ++j)
        answers_[owners[j]].push_back(std::move(texts[j]));
    }
  }

  void check_fits(std::size_t i, std::int64_t tokens, std::int64_t answer) const {
    if (most_ <= 0 || tokens + answer <= most_) return;
    throw core::ConfigError(concat("question ", i + 1, " has ", tokens,
                                   " tokens; with an answer of ", answer, " at most ",
                                   most_ - answer, " fit; lower --max-new-tokens"));
  }

  const EvalSettings& settings_;
  core::Reporter& reporter_;
  std::vector<Json> records_;
  const ScorerForm& form_;
  std::shared_ptr<const tokenizer::Tokenizer> tokenizer_;
  PromptEncoder encoder_;
  std::unique_ptr<ChatPrompts> chat_;  // null: prompts are text
  std::string examples_;
  std::int64_t most_ = 0;
  std::vector<std::vector<std::string>> answers_;
};

}  // namespace

EvalResult generate_answers(const EvalSettings& settings, core::Reporter& reporter) {
  if (settings.predictions.empty())
    throw core::ConfigError("--task generate writes a file; name it with --predictions");
  if (!settings.compare.empty())
    throw core::ConfigError("--compare is for tasks that are scored; generate is not");
  check_stops(settings.answers.stop);
  check_can_hold(settings.predictions);
  ScorerRun run(settings, reporter);
  const std::string lines = run.lines();
  core::write_file_atomic(settings.predictions, lines);
  return {.task = "generate",
          .score_name = run.form().name,
          .samples = run.questions(),
          .bos = run.bos()};
}

}  // namespace corda::eval
