// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Talking to a model: texts that it goes on with, and conversations.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/core/settings.h"
#include "corda/eval/eval.h"

namespace corda::eval {

struct ChatSettings {
  std::string model = {};                 // a Hugging Face directory
  std::string assume_family = {};         // as EvalSettings has it
  std::string adapter = {};               // its directory, folded into the weights; "": none
  std::vector<std::string> prompts = {};  // of generate
  std::string template_name = "auto";     // data::template_names, or a .jinja file
  std::string system = {};                // the system's message; "": none
  std::string date = {};                  // YYYY-MM-DD that a template may show; "": today
  AnswerSettings answers = {};
  std::int64_t batch_tokens = 16384;  // keys and values of so many tokens are held at once
  std::string device = "auto";        // linalg::device_of
  std::string dtype = "auto";         // of weights and activations: linalg::dtype_of
  std::int64_t threads = 0;           // of the CPU; 0: all
};

// The flags of `corda generate` and `corda chat`.
core::SettingsList generate_settings_of(ChatSettings& settings);
core::SettingsList chat_settings_of(ChatSettings& settings);

// Given the next piece of an answer while it grows; whole characters.
using ShowText = std::function<void(std::string_view piece)>;

// How the model goes on with each prompt. Template auto and plain: the text itself, behind BOS
// where the tokenizer puts one; any other: as a user's message. With one prompt the answer is shown
// as it grows. Throws ConfigError where there is no prompt or where it is empty.
std::vector<std::string> generate_texts(const ChatSettings& settings, const ShowText& show,
                                        core::Reporter& reporter);

// A conversation with one model in memory.
class Chat {
 public:
  // Throws ConfigError where the model has no chat template and none is named; an adapter that
  // names that of its training brings it along.
  Chat(const ChatSettings& settings, core::Reporter& reporter);
  ~Chat();

  // What the model answers, shown as it grows. Where the conversation has become too long for the
  // model's positions its oldest turns are forgotten, which is logged. Throws ConfigError where the
  // message alone is too long, Interrupted where the reporter asks to stop.
  std::string say(const std::string& message, const ShowText& show, core::Reporter& reporter);
  // Forgets all turns.
  void reset();
  // Goes on with the base and this adapter, or the base alone for "". Where it throws, nothing has
  // changed.
  void use_adapter(const std::string& directory, core::Reporter& reporter);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace corda::eval
