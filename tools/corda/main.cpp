// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The command line: parses flags, runs one verb, turns errors into one line and an exit code.
#include <c10/util/Exception.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <vector>

#include "commands.h"
#include "console_reporter.h"
#include "corda/core/environment.h"
#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/dist/launch.h"
#include "corda/dist/world.h"
#include "corda/linalg/out_of_memory.h"
#include "corda/train/foreign_settings.h"
#include "corda/train/settings.h"
#include "local_ranks.h"

namespace {

using corda::core::ExitCode;
using corda::core::first_line;  // of a LibTorch message; the rest is a C++ backtrace

int fail(ExitCode code, const std::string& message) {
  std::fprintf(stderr, "corda: error: %s\n", corda::core::capped(message).c_str());
  return static_cast<int>(code);
}

// Ends the process without the destructors of globals: those of LibTorch take a tenth of a second,
// with a GPU more, and give back what the system takes back at once.
[[noreturn]] void leave(int code) {
  std::fflush(nullptr);
#ifdef __SANITIZE_ADDRESS__
  std::exit(code);  // where leaks are looked for
#else
  ::_exit(code);
#endif
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
    if (verb->get_option_no_throw("--batch-tokens") != nullptr) {
      const bool windows = verb->get_option_no_throw("--seq-len") != nullptr;
      advice.emplace_back(windows ? "lower --batch-tokens or --seq-len" : "lower --batch-tokens");
    }
    if (verb->get_option_no_throw("--device") != nullptr)
      advice.emplace_back("use a device with more free memory (--device)");
  }
  if (advice.empty()) advice.emplace_back("use a machine with more free memory");
  return corda::core::join(advice, ", or ");
}

// What is said of an exception, and the exit code.
corda::core::Error error_of(const CLI::App& app, const std::exception& exception) {
  if (const auto* error = dynamic_cast<const corda::core::InternalError*>(&exception))
    return {error->code(), internal(error->what())};
  if (const auto* error = dynamic_cast<const corda::core::Error*>(&exception)) return *error;
  if (const auto out = corda::linalg::out_of_memory(exception)) {
    return {ExitCode::kResource,
            out->memory + " ran out; " + memory_advice(app) + " (" + out->detail + ")"};
  }
  const auto* torch = dynamic_cast<const c10::Error*>(&exception);
  return {
      ExitCode::kInternal,
      internal(torch == nullptr ? exception.what() : first_line(torch->what_without_backtrace()))};
}

// Does the action as one of several ranks. Does not come back from a failure, after which what
// connects the ranks may wait for ever.
int run_as_rank(const CLI::App& app, const corda::dist::Launch& launch,
                const corda::tools::Action& action, corda::tools::CommonFlags& common) {
  common.prints = launch.rank == 0;
  std::unique_ptr<corda::dist::World> world;
  try {
    const corda::tools::ConsoleReporter reporter(common.quiet, !common.prints);
    world = corda::dist::join(launch, reporter);
    common.world = world.get();
    action();
  } catch (const std::exception& exception) {
    const corda::core::Error error = error_of(app, exception);
    if (!world || world->fail(error))
      fail(error.code(), corda::core::concat("rank ", launch.rank, ": ", error.what()));
    std::fflush(stdout);
    if (world) world->linger();
    std::_Exit(static_cast<int>(error.code()));
  }
  world.reset();
  return finish(0);
}

// The verbs that several ranks can do together.
constexpr std::array kParallel = {"calibrate", "decompose", "train", "eval"};

bool is_parallel(const CLI::App& app) {
  return std::ranges::any_of(app.get_subcommands(), [](const CLI::App* verb) {
    return std::ranges::find(kParallel, verb->get_name()) != kParallel.end();
  });
}

// The verb and the names of its flags: what all ranks share.
std::string command_of(const CLI::App& app, const std::vector<std::string>& arguments) {
  std::vector<std::string> flags;
  for (const std::string& argument : arguments) {
    // Settings are compared by their values later on.
    const bool is_free = argument == "--json" || argument == "--quiet" || argument == "--set";
    if (argument.starts_with("--") && !is_free)
      flags.push_back(argument.substr(0, argument.find('=')));
  }
  std::sort(flags.begin(), flags.end());
  for (const CLI::App* verb : app.get_subcommands()) flags.insert(flags.begin(), verb->get_name());
  return corda::core::join(flags, " ");
}

// What a launcher says. A verb that one process does is not held up by variables that others left.
std::optional<corda::dist::Launch> launch_of_process(bool is_parallel) {
  try {
    return corda::dist::launch_of(corda::core::environment_variable);
  } catch (const corda::core::ConfigError&) {
    if (is_parallel) throw;
    return std::nullopt;
  }
}

int run(const CLI::App& app, const corda::tools::Action& action, corda::tools::CommonFlags& common,
        const std::vector<std::string>& arguments) {
  try {
    auto launch = launch_of_process(is_parallel(app));
    if (launch) launch->command = command_of(app, arguments);
    if (launch && common.gpus > 0) {
      throw corda::core::ConfigError("this process was started by " + launch->launcher +
                                     ", which says how many there are; leave out --gpus");
    }
    if (launch && is_parallel(app)) return run_as_rank(app, *launch, action, common);
    if (launch && launch->rank > 0) {
      std::fprintf(stderr, "corda: rank %d of %d: nothing to do, rank 0 does it alone\n",
                   launch->rank, launch->size);
      return 0;
    }
    if (common.gpus > 1) {
      const corda::tools::ConsoleReporter reporter(common.quiet);
      return corda::tools::run_local_ranks(common.gpus, corda::tools::without_gpus(arguments),
                                           [&] { return reporter.stop_requested(); });
    }
    common.world = &corda::dist::alone();
    action();
    return finish(0);
  } catch (const std::exception& exception) {
    const corda::core::Error error = error_of(app, exception);
    return fail(error.code(), error.what());
  }
}

int run_program(int argc, char** argv) {
  CLI::App app("Context-oriented decomposition adaptation (CorDA) of language models.", "corda");
  app.set_version_flag("--version", std::string("corda ") + CORDA_VERSION);
  app.require_subcommand(1);
  corda::tools::CommonFlags common;
  corda::tools::Action action;
  corda::tools::add_calibrate(app, common, action);
  corda::tools::add_decompose(app, common, action);
  corda::tools::add_train(app, common, action);
  corda::tools::add_merge(app, common, action);
  corda::tools::add_quantize(app, common, action);
  corda::tools::add_eval(app, common, action);
  corda::tools::add_generate(app, common, action);
  corda::tools::add_chat(app, common, action);
  corda::tools::add_preview(app, common, action);
  corda::tools::add_plan(app, common, action);
  corda::tools::add_export(app, common, action);
  corda::tools::add_inspect(app, common, action);
  corda::tools::add_report(app, common, action);
  corda::tools::add_study(app, common, action);
  corda::tools::add_doctor(app, common, action);
  corda::tools::add_tokenize(app, common, action);
  corda::tools::add_config(app, common, action);
  corda::tools::add_completion(app, common, action);
  corda::tools::add_man(app, common, action);
  for (CLI::App* verb : app.get_subcommands({})) {
    // What these print is for a shell and for man.
    const bool prints_json = verb->get_name() != "completion" && verb->get_name() != "man";
    if (prints_json) verb->add_flag("--json", common.json, "print the result as JSON");
    verb->add_flag("--quiet,-q", common.quiet, "no progress, warnings only");
  }
  for (const char* verb : kParallel) {
    app.get_subcommand(verb)
        ->add_option("--gpus", common.gpus,
                     "start so many processes on this machine, one a GPU; on several machines use "
                     "torchrun, srun or mpirun instead")
        ->check(CLI::Range(1, 1024));
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
  return run(app, action, common, {argv + 1, argv + argc});
}

}  // namespace

int main(int argc, char** argv) {
  corda::tools::handle_signals();
  leave(run_program(argc, argv));
}
