// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/unused_settings.h"

#include <string>
#include <vector>

#include "corda/core/error.h"
#include "eval/chat_prompt.h"
#include "eval/task.h"

namespace corda::eval {

namespace {

using Names = std::vector<std::string>;

const Names kOfAnswers = {"max_new_tokens", "stop", "temperature", "top_p", "top_k", "seed"};
const Names kOfQuestions = {"shots", "shots_data", "bos", "harness", "predictions", "compare"};

// The likeliest token is taken without drawing; a seed alone asks for nothing.
void refuse_drawing(const core::SettingsList& now, const core::SettingsList& usual,
                    const AnswerSettings& answers) {
  if (answers.temperature > 0) return;
  core::refuse_changed(now, usual, {"top_p", "top_k"},
                       "for drawn answers, which need 'temperature' above 0");
}

constexpr const char* kOfTemplates = "for chat templates: name one with 'template'";

}  // namespace

void refuse_unused_settings(const EvalSettings& settings) {
  EvalSettings asked = settings;
  EvalSettings untouched;
  const core::SettingsList now = settings_of(asked);
  const core::SettingsList usual = settings_of(untouched);
  const auto refuse = [&](const Names& names, const std::string& why) {
    core::refuse_changed(now, usual, names, core::concat(why, ", and 'task' is ", settings.task));
  };
  const bool measures_text = settings.task == "perplexity";
  const bool writes = settings.task == "generate";
  if (!measures_text) refuse({"add_bos"}, "for windows of plain text");
  if (measures_text) refuse(kOfQuestions, "for tasks of questions");
  if (writes)
    refuse({"shots", "shots_data", "harness", "compare"}, "for tasks that are scored here");
  const bool answers =
      writes || (!measures_text && task_named(settings.task).kind == TaskKind::kAnswers);
  if (!answers) refuse(kOfAnswers, "for tasks whose answers are generated");
  refuse_drawing(now, usual, settings.answers);
  if (!measures_text && !writes && !is_chat_template(settings.template_name))
    refuse({"system", "date"}, kOfTemplates);
}

void refuse_unused_settings(const ChatSettings& settings) {
  ChatSettings asked = settings;
  ChatSettings untouched;
  const core::SettingsList now = generate_settings_of(asked);
  const core::SettingsList usual = generate_settings_of(untouched);
  refuse_drawing(now, usual, settings.answers);
  if (!is_chat_template(settings.template_name))
    core::refuse_changed(now, usual, {"system", "date"}, kOfTemplates);
}

}  // namespace corda::eval
