// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "commands.h"
#include "console_reporter.h"
#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/eval/chat.h"
#include "user_paths.h"

namespace corda::tools {

namespace {

void show(std::string_view piece) {
  std::fwrite(piece.data(), 1, piece.size(), stdout);
  std::fflush(stdout);
}

void generate(const eval::ChatSettings& settings, const CommonFlags& common) {
  ConsoleReporter reporter(common.quiet);
  const bool streams = settings.prompts.size() == 1 && !common.json;
  const auto texts =
      eval::generate_texts(settings, streams ? eval::ShowText(show) : eval::ShowText(), reporter);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (common.json) {
      print_json({{"prompt", settings.prompts[i]}, {"answer", texts[i]}});
    } else if (streams) {
      std::printf("\n");
    } else {
      std::printf("> %s\n%s\n\n", settings.prompts[i].c_str(), texts[i].c_str());
    }
  }
}

constexpr const char* kHelp =
    "/reset         forget the conversation\n"
    "/adapter DIR   go on with this adapter; without DIR with the base alone\n"
    "/exit          leave, as the end of input does\n"
    "What begins with // is a message with one slash.\n";

// Obeys a line that begins with a slash; false where it asks to leave.
bool obey(const std::string& line, eval::Chat& chat, core::Reporter& reporter) {
  const std::size_t space = line.find(' ');
  const std::string word = line.substr(0, space);
  const std::string rest =
      space == std::string::npos ? "" : std::string(core::trim(line.substr(space)));
  if (word == "/exit") return false;
  if (word == "/reset") {
    chat.reset();
    reporter.info("the conversation is forgotten");
  } else if (word == "/adapter") {
    chat.use_adapter(rest.empty() ? "" : user_path(rest), reporter);
    reporter.info(rest.empty() ? "the base alone answers now"
                               : core::concat("the adapter '", rest, "' answers now"));
  } else if (word == "/help") {
    std::fputs(kHelp, stdout);
  } else {
    throw core::ConfigError(core::concat(
        "there is no command '", word, "'",
        core::suggestion(word, {"/reset", "/adapter", "/exit", "/help"}), "; /help lists them"));
  }
  return true;
}

// One line of the user's. A wrong one costs nothing but itself.
bool answer(const std::string& line, eval::Chat& chat, core::Reporter& reporter, bool json) {
  try {
    if (line.starts_with("/") && !line.starts_with("//")) return obey(line, chat, reporter);
    const std::string message = line.starts_with("//") ? line.substr(1) : line;
    const std::string text =
        chat.say(message, json ? eval::ShowText() : eval::ShowText(show), reporter);
    if (json) {
      print_json({{"message", message}, {"answer", text}});
      std::fflush(stdout);
    } else {
      std::printf("\n\n");
    }
  } catch (const core::ConfigError& error) {
    std::fprintf(stderr, "corda: %s\n", error.what());
  } catch (const core::IoError& error) {
    std::fprintf(stderr, "corda: %s\n", error.what());
  } catch (const core::FormatError& error) {
    std::fprintf(stderr, "corda: %s\n", error.what());
  } catch (const core::ShapeError& error) {
    std::fprintf(stderr, "corda: %s\n", error.what());
  }
  return true;
}

void converse(const eval::ChatSettings& settings, const CommonFlags& common) {
  ConsoleReporter reporter(common.quiet);
  eval::Chat chat(settings, reporter);
  const bool terminal = ::isatty(STDIN_FILENO) == 1 && !common.json;
  if (terminal) std::fputs("/help lists what can be done here.\n", stdout);
  std::string line;
  while (true) {
    if (terminal) show("> ");
    if (!std::getline(std::cin, line) || reporter.stop_requested()) break;
    if (core::trim(line).empty()) continue;
    if (!answer(line, chat, reporter, common.json)) break;
  }
  if (terminal) std::fputs("\n", stdout);
}

}  // namespace

void add_generate(CLI::App& app, CommonFlags& common, Action& action) {
  const auto settings = std::make_shared<eval::ChatSettings>();
  add_verb(app, "generate", "Let a model go on with a text.", eval::generate_settings_of(*settings),
           action, [settings, &common] { generate(*settings, common); });
}

void add_chat(CLI::App& app, CommonFlags& common, Action& action) {
  const auto settings = std::make_shared<eval::ChatSettings>();
  add_verb(app, "chat", "Talk to a model, a message a line.", eval::chat_settings_of(*settings),
           action, [settings, &common] { converse(*settings, common); });
}

}  // namespace corda::tools
