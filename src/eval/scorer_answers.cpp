// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/scorer_answers.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/refuse_changed.h"
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
#include "eval/unused_settings.h"
#include "jinja/json_value.h"

namespace corda::eval {

using core::concat;
using core::Json;

namespace {

using Ids = std::vector<TokenId>;

// `columns`: the form's name of a column to the file's.
std::vector<Json> read_records(const std::vector<std::string>& paths, const std::string& columns) {
  const auto renamed = data::parse_columns(columns);
  std::vector<Json> records;
  for (const std::string& path : paths) {
    data::RecordStream stream({.path = path, .format = "qa"});
    while (auto raw = stream.next_raw()) {
      Json& record = records.emplace_back(data::parse_record(std::move(*raw), path).value);
      for (const auto& [name, column] : renamed) {
        if (record.is_object() && record.contains(column)) record[name] = record.at(column);
      }
    }
  }
  if (records.empty()) throw core::ConfigError("the data has no question to ask");
  return records;
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
    if (form_of(records[i]) != form)
      throw core::FormatError(
          concat("question ", i + 1, " of the data is not of ", form->name, ", as the first is"));
  }
  return *form;
}

// One run: what is asked, how, and what came of it.
class ScorerRun {
 public:
  ScorerRun(const EvalSettings& settings, core::Reporter& reporter)
      : settings_(settings),
        reporter_(reporter),
        records_(read_records(settings.data, settings.columns)),
        form_(form_of_all(records_)),
        tokenizer_(tokenizer::load_tokenizer(settings.model)),
        encoder_(*tokenizer_, harness_named(settings.harness), settings.bos, /*literal=*/true) {
    if (form_.temperature == nullptr) refuse_drawing(settings);
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
    choose_records();
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
    if (form_.is_example == nullptr || chat_ != nullptr) {
      core::refuse_changed(settings_, settings_of, {"shots_data"},
                           concat("for questions that are put with examples, and ", form_.name,
                                  chat_ == nullptr ? " has none" : " has none in messages"));
    }
    if (chat_ != nullptr) {
      core::refuse_changed(settings_, settings_of, {"bos"},
                           "for prompts without a chat template, which says itself how they begin");
    } else {
      core::refuse_changed(settings_, settings_of, {"system", "date"},
                           "for chat templates: name one with 'template'");
    }
    if (form_.is_example != nullptr && chat_ == nullptr) {
      const std::vector<Json> shown = settings_.shots_data.empty()
                                          ? records_
                                          : read_records(settings_.shots_data, settings_.columns);
      for (const Json& record : shown) {
        if (form_.is_example(record))
          examples_ += filled(form_.text.prompt, record) + filled(form_.example, record);
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
    return core::parse_json(filled(form_.turns, record), "turns").get<std::vector<std::string>>();
  }

  const ScorerAsk& how() const { return chat_ == nullptr ? form_.text : form_.message; }

  // The ids of a turn's prompt; nullopt where the record has no such turn.
  std::optional<Ids> prompt_of(std::size_t i, std::size_t turn) const {
    const Json& record = records_[i];
    if (chat_ == nullptr) return encoder_.encode(examples_ + filled(form_.text.prompt, record));
    std::vector<std::string> asked;
    if (form_.turns.empty()) {
      asked = {filled(form_.message.prompt, record)};
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
    return chat_->ids_of(messages, filled(form_.message.begun, record));
  }

  struct Asked {
    std::size_t question;
    Ids prompt;
  };

  // Answers of one temperature and length are generated together.
  void ask(const model::Model& model, std::size_t turn) {
    std::map<std::pair<double, std::int64_t>, std::vector<Asked>> groups;
    for (std::size_t i = 0; i < records_.size(); ++i) {
      auto prompt = prompt_of(i, turn);
      if (!prompt) continue;
      const std::int64_t room = room_for(i, turn, static_cast<std::int64_t>(prompt->size()));
      if (room > 0) {
        groups[{temperature_of(records_[i]), room}].push_back({i, std::move(*prompt)});
      } else {
        answers_[i].emplace_back();
      }
    }
    for (auto& [kind, asked] : groups) answer(model, turn, kind.first, kind.second, asked);
  }

  void answer(const model::Model& model, std::size_t turn, double temperature,
              std::int64_t most_tokens, std::vector<Asked>& asked) {
    AnswerSettings answers = settings_.answers;
    answers.temperature = temperature;
    answers.seed += static_cast<std::int64_t>(turn);
    answers.max_new_tokens = most_tokens;
    answers.stop.insert(answers.stop.begin(), how().stops.begin(), how().stops.end());
    std::vector<Ids> prompts;
    for (Asked& each : asked) prompts.push_back(std::move(each.prompt));
    auto texts =
        answer_prompts(model, *tokenizer_, prompts, answers, settings_.batch_tokens, reporter_);
    for (std::size_t j = 0; j < asked.size(); ++j) {
      const std::size_t i = asked[j].question;
      answers_[i].push_back(how().kept == nullptr ? std::move(texts[j])
                                                  : how().kept(records_[i], texts[j]));
    }
  }

  double temperature_of(const Json& record) const {
    const bool own = form_.temperature != nullptr && settings_.answers.temperature == 0;
    return own ? form_.temperature(record) : settings_.answers.temperature;
  }

  // How long the answer may be. What does not fit at first is wrong before any work is done; a
  // later turn has what earlier answers leave.
  std::int64_t room_for(std::size_t i, std::size_t turn, std::int64_t tokens) const {
    const std::int64_t wanted = settings_.answers.max_new_tokens > 0
                                    ? settings_.answers.max_new_tokens
                                    : how().max_new_tokens;
    if (most_ <= 0 || tokens + wanted <= most_) return wanted;
    if (turn == 0)
      throw core::ConfigError(concat("question ", i + 1, " has ", tokens,
                                     " tokens; with an answer of ", wanted, " at most ",
                                     most_ - wanted, " fit; lower --max-new-tokens"));
    const std::int64_t left = std::max<std::int64_t>(0, most_ - tokens);
    reporter_.warn(concat("question ", i + 1, ", turn ", turn + 1, ": the conversation has ",
                          tokens, " of ", most_, " tokens, which leaves ", left,
                          " for the answer"));
    return left;
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

// A template takes one line break from its source's end.
std::string filled(const std::string& source, const Json& record) {
  if (source.empty()) return "";
  return jinja::Template(source + "\n", "form").render(jinja::from_json(record)).text;
}

EvalResult generate_answers(const EvalSettings& settings, core::Reporter& reporter) {
  if (settings.predictions.empty())
    throw core::ConfigError("--task generate writes a file; name it with --predictions");
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
