// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The command line: parses flags, runs one verb, turns errors into one line and an exit code.
#include <c10/util/Exception.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <vector>

#include "commands.h"
#include "console_reporter.h"
#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/linalg/out_of_memory.h"
#include "corda/train/foreign_settings.h"
#include "corda/train/settings.h"

namespace {

using corda::core::ExitCode;
using corda::core::first_line;  // of a LibTorch message; the rest is a C++ backtrace

int fail(ExitCode code, const std::string& message) {
  std::fprintf(stderr, "corda: error: %s\n", message.c_str());
  return static_cast<int>(code);
}

std::string internal(const std::string& message) {
  return "internal error, please report it: " + message;
}

// The exit code, unless what was printed did not arrive.
int finish(int code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  return fail(ExitCode::kResource, "cannot write to stdout; is the disk full?");
}

// A sentence about the first argument where it is no verb, else "".
std::string unknown_verb(const CLI::App& app, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return "";
  std::vector<std::string> verbs;
  for (const CLI::App* verb : app.get_subcommands({})) verbs.push_back(verb->get_name());
  if (std::find(verbs.begin(), verbs.end(), argv[1]) != verbs.end()) return "";
  return corda::core::concat("there is no verb '", argv[1], "'",
                             corda::core::suggestion(argv[1], verbs));
}

// What sets in a training what `flag` asks for, in a sentence's half; "" where it is unknown.
std::string setting_behind(std::string flag) {
  corda::train::TrainSettings settings;
  std::replace(flag.begin(), flag.end(), '-', '_');
  if (corda::train::settings_of(settings).find(flag) != nullptr)
    return corda::core::concat("; give it in the file of --config or as --set ", flag, "=...");
  const std::string here = corda::train::foreign_setting(flag);
  return here.empty() ? "" : ": " + here;
}

// A sentence about the first argument that the chosen verb does not know, else "".
std::string unknown_argument(const CLI::App& app) {
  for (const CLI::App* verb : app.get_subcommands()) {
    const auto unknown = verb->remaining();
    const auto is_flag = [](const std::string& word) { return word.starts_with('-'); };
    const auto found = std::find_if(unknown.begin(), unknown.end(), is_flag);
    if (unknown.empty()) continue;
    if (found == unknown.end()) {
      return corda::core::concat("corda ", verb->get_name(), " takes flags only; it got '",
                                 unknown.front(), "'");
    }
    std::vector<std::string> flags;
    for (const CLI::Option* option : verb->get_options()) flags.push_back(option->get_name());
    const std::string name = found->substr(0, found->find('='));
    const std::string here =
        verb->get_name() == "train" ? setting_behind(name.substr(name.find_first_not_of('-'))) : "";
    return corda::core::concat("corda ", verb->get_name(), " has no flag '", name, "'",
                               here.empty() ? corda::core::suggestion(name, flags) : here);
  }
  return "";
}

// What is wrong with the command line, in a sentence.
std::string usage_problem(const CLI::App& app, const CLI::ParseError& error, int argc,
                          char** argv) {
  if (const std::string verb = unknown_verb(app, argc, argv); !verb.empty()) return verb;
  const std::string argument =
      dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr ? unknown_argument(app) : "";
  return argument.empty() ? error.what() : argument;
}

// What the user of the chosen verb can do about memory. (`train` says it itself.)
std::string memory_advice(const CLI::App& app) {
  std::vector<std::string> advice;
  for (const CLI::App* verb : app.get_subcommands()) {
    if (verb->get_option_no_throw("--batch-tokens") != nullptr)
      advice.emplace_back("lower --batch-tokens or --seq-len");
    if (verb->get_option_no_throw("--device") != nullptr)
      advice.emplace_back("use a device with more free memory (--device)");
  }
  if (advice.empty()) advice.emplace_back("use a machine with more free memory");
  return corda::core::join(advice, ", or ");
}

int run(const CLI::App& app, const corda::tools::Action& action) {
  try {
    action();
    return finish(0);
  } catch (const corda::core::InternalError& error) {
    return fail(error.code(), internal(error.what()));
  } catch (const corda::core::Error& error) {
    return fail(error.code(), error.what());
  } catch (const std::exception& error) {
    if (const auto out = corda::linalg::out_of_memory(error)) {
      return fail(ExitCode::kResource,
                  out->memory + " ran out; " + memory_advice(app) + " (" + out->detail + ")");
    }
    const auto* torch = dynamic_cast<const c10::Error*>(&error);
    return fail(
        ExitCode::kInternal,
        internal(torch == nullptr ? error.what() : first_line(torch->what_without_backtrace())));
  }
}

}  // namespace

int main(int argc, char** argv) {
  corda::tools::handle_signals();
  CLI::App app("Context-oriented decomposition adaptation (CorDA) of language models.", "corda");
  app.set_version_flag("--version", std::string("corda ") + CORDA_VERSION);
  app.require_subcommand(1);
  corda::tools::CommonFlags common;
  corda::tools::Action action;
  corda::tools::add_calibrate(app, common, action);
  corda::tools::add_decompose(app, common, action);
  corda::tools::add_train(app, common, action);
  corda::tools::add_merge(app, common, action);
  corda::tools::add_eval(app, common, action);
  corda::tools::add_preview(app, common, action);
  corda::tools::add_plan(app, common, action);
  corda::tools::add_export(app, common, action);
  corda::tools::add_inspect(app, common, action);
  corda::tools::add_doctor(app, common, action);
  corda::tools::add_tokenize(app, common, action);
  corda::tools::add_config(app, common, action);
  corda::tools::add_completion(app, common, action);
  corda::tools::add_man(app, common, action);
  for (CLI::App* verb : app.get_subcommands({})) {
    verb->add_flag("--json", common.json, "print the result as JSON");
    verb->add_flag("--quiet,-q", common.quiet, "no progress, warnings only");
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return finish(app.exit(success));
  } catch (const CLI::ParseError& error) {
    return fail(ExitCode::kUsage, usage_problem(app, error, argc, argv) + "; try --help");
  } catch (const corda::core::Error& error) {
    return fail(error.code(), error.what());
  }
  return run(app, action);
}
