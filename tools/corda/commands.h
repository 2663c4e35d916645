// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// One function a verb: declares its flags on `app`, and what to do when it was chosen.
#pragma once

#include <CLI/CLI.hpp>

#include "verb.h"

namespace corda::tools {

void add_calibrate(CLI::App& app, CommonFlags& common, Action& action);
void add_decompose(CLI::App& app, CommonFlags& common, Action& action);
void add_train(CLI::App& app, CommonFlags& common, Action& action);
void add_merge(CLI::App& app, CommonFlags& common, Action& action);
void add_quantize(CLI::App& app, CommonFlags& common, Action& action);
void add_chat(CLI::App& app, CommonFlags& common, Action& action);
void add_generate(CLI::App& app, CommonFlags& common, Action& action);
void add_eval(CLI::App& app, CommonFlags& common, Action& action);
void add_preview(CLI::App& app, CommonFlags& common, Action& action);
void add_plan(CLI::App& app, CommonFlags& common, Action& action);
void add_doctor(CLI::App& app, CommonFlags& common, Action& action);
void add_export(CLI::App& app, CommonFlags& common, Action& action);
void add_inspect(CLI::App& app, CommonFlags& common, Action& action);
void add_report(CLI::App& app, CommonFlags& common, Action& action);
void add_study(CLI::App& app, CommonFlags& common, Action& action);
void add_config(CLI::App& app, CommonFlags& common, Action& action);
void add_completion(CLI::App& app, CommonFlags& common, Action& action);
void add_man(CLI::App& app, CommonFlags& common, Action& action);
void add_tokenize(CLI::App& app, CommonFlags& common, Action& action);

}  // namespace corda::tools
