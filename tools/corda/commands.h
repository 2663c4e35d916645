// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// One function a verb: declares its flags on `app`, and what to do when it was chosen.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace corda::tools {

// What every verb has beside its own flags.
struct CommonFlags {
  bool json = false;   // results on stdout as one JSON object
  bool quiet = false;  // no progress, warnings only
};

// The work of the verb that was chosen; set while the command line is parsed, run after it.
using Action = std::function<void()>;

void add_calibrate(CLI::App& app, CommonFlags& common, Action& action);
void add_decompose(CLI::App& app, CommonFlags& common, Action& action);
void add_train(CLI::App& app, CommonFlags& common, Action& action);
void add_merge(CLI::App& app, CommonFlags& common, Action& action);
void add_eval(CLI::App& app, CommonFlags& common, Action& action);
void add_preview(CLI::App& app, CommonFlags& common, Action& action);
void add_tokenize(CLI::App& app, CommonFlags& common, Action& action);

}  // namespace corda::tools
