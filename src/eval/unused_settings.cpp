// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/unused_settings.h"

#include <string>
#include <vector>

#include "corda/core/error.h"
#include "corda/core/refuse_changed.h"
#include "eval/chat_prompt.h"
#include "eval/task.h"

namespace corda::eval {

namespace {

using Names = std::vector<std::string>;

const Names kOfAnswers = {"max_new_tokens", "stop", "temperature", "top_p", "top_k", "seed"};
const Names kOfQuestions = {"shots", "shots_data", "bos", "harness", "predictions", "compare"};
const Names kOfDrawing = {"top_p", "top_k"};
const Names kOfTemplates = {"system", "date"};

// The likeliest token is taken without drawing; a seed alone asks for nothing.
constexpr const char* kWhyDrawing = "for drawn answers, which need 'temperature' above 0";
constexpr const char* kWhyTemplates = "for chat templates: name one with 'template'";

}  // namespace

void refuse_unused_settings(const EvalSettings& settings) {
  const auto refuse = [&](const Names& names, const std::string& why) {
    core::refuse_changed(settings, settings_of, names, why);
  };
  const auto refuse_of_task = [&](const Names& names, const std::string& why) {
    refuse(names, core::concat(why, ", and 'task' is ", settings.task));
  };
  const bool measures_text = settings.task == "perplexity";
  const bool writes = settings.task == "generate";
  if (!measures_text) refuse_of_task({"add_bos"}, "for windows of plain text");
  if (measures_text) refuse_of_task(kOfQuestions, "for tasks of questions");
  if (writes)
    refuse_of_task({"format", "skip_bad", "shots", "harness", "compare"},
                   "for tasks that are scored here");
  const bool answers =
      writes || (!measures_text && task_named(settings.task).kind == TaskKind::kAnswers);
  if (!answers) refuse_of_task(kOfAnswers, "for tasks whose answers are generated");
  if (settings.answers.temperature == 0 && !writes) refuse(kOfDrawing, kWhyDrawing);
  if (measures_text || writes) return;
  if (is_chat_template(settings.template_name)) {
    refuse({"bos"}, "for prompts without a chat template, which says itself how they begin");
  } else {
    refuse_of_task(kOfTemplates, kWhyTemplates);
  }
  // Who says --shots 0 may say it among other numbers.
  if (settings.shots < 0 && task_named(settings.task).shots == 0)
    refuse_of_task({"shots_data"}, "for examples, of which --shots asks none");
}

void refuse_drawing(const EvalSettings& settings) {
  if (settings.answers.temperature == 0)
    core::refuse_changed(settings, settings_of, kOfDrawing, kWhyDrawing);
}

void refuse_unused_settings(const EvalSettings& settings, bool plain_text) {
  if (plain_text) {
    Names names = {"system", "date"};
    if (is_chat_template(settings.template_name)) names.insert(names.begin(), "template");
    core::refuse_changed(settings, settings_of, names, "for records, and the data are plain text");
  } else {
    core::refuse_changed(settings, settings_of, {"add_bos"},
                         "for windows of plain text, and the data are records");
  }
}

void refuse_unused_settings(const ChatSettings& settings, bool converses) {
  const auto refuse = [&](const Names& names, const std::string& why) {
    core::refuse_changed(settings, generate_settings_of, names, why);
  };
  if (settings.answers.temperature == 0) refuse(kOfDrawing, kWhyDrawing);
  if (!converses && !is_chat_template(settings.template_name)) refuse(kOfTemplates, kWhyTemplates);
}

}  // namespace corda::eval
