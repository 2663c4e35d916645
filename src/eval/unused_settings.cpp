// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/unused_settings.h"

#include <string>
#include <vector>

#include "corda/core/error.h"
#include "eval/task.h"

namespace corda::eval {

namespace {

using Names = std::vector<std::string>;

const Names kOfAnswers = {"max_new_tokens", "stop", "temperature", "top_p", "top_k", "seed"};
const Names kOfQuestions = {"shots", "shots_data", "bos", "harness", "predictions", "compare"};

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
  if (settings.answers.temperature == 0) {
    core::refuse_changed(now, usual, {"top_p", "top_k", "seed"},
                         "for drawn answers, which need 'temperature' above 0");
  }
  const bool plain = settings.template_name == "auto" || settings.template_name == "plain";
  if (!measures_text && !writes && plain)
    refuse({"system", "date"}, "for chat templates: name one with 'template'");
}

}  // namespace corda::eval
