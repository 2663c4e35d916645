// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/eval/chat.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/data/names.h"
#include "corda/data/vocabulary.h"
#include "corda/linalg/device.h"
#include "corda/model/config.h"
#include "eval/answer.h"
#include "eval/chat_prompt.h"
#include "eval/load_model.h"
#include "eval/prompt_encoder.h"
#include "eval/unused_settings.h"

namespace corda::eval {

namespace {

constexpr std::int64_t kGenerateTokens = 256;
constexpr std::int64_t kChatTokens = 1024;

using Ids = std::vector<TokenId>;

core::SettingsList settings_list(ChatSettings& s, bool prompts) {
  core::SettingsList list;
  list.add("model", s.model, core::kModelHelp).path(core::PathKind::kModel).required();
  model::add_assume_family(list, s.assume_family);
  list.add("adapter", s.adapter, "adapter directory, folded into the weights")
      .path(core::PathKind::kModel);
  if (prompts) {
    list.add("prompt", s.prompts, "a text to go on with; may be given several times").required();
  }
  list.add("template", s.template_name,
           core::concat(prompts ? "auto and plain go on with the text itself; what makes it a "
                                  "user's message otherwise: "
                                : "what makes messages text (auto: that of the adapter's training, "
                                  "else the model's own): ",
                        core::join(data::template_names(), ", "), " or a file that ends in .jinja"))
      .path();
  list.add("system", s.system, "message of the system, in front of the conversation");
  list.add("date", s.date, "YYYY-MM-DD that a template with strftime_now shows; empty: today");
  add_answer_settings(list, s.answers);
  if (prompts) {
    list.add("batch_tokens", s.batch_tokens,
             "of several prompts: tokens whose keys and values are held at once", {1, 1 << 24});
  }
  list.add("device", s.device, "auto, cpu, cuda or cuda:N");
  list.add("dtype", s.dtype, "of weights and activations", {"auto", "bf16", "fp32"});
  list.add("threads", s.threads, "CPU threads; 0: all", {0, 4096});
  return list;
}

ModelChoice choice_of(const ChatSettings& settings, const std::string& adapter) {
  return {.model = settings.model,
          .assume_family = settings.assume_family,
          .adapter = adapter,
          .device = settings.device,
          .dtype = settings.dtype};
}

AnswerSettings complete(AnswerSettings answers, std::int64_t tokens) {
  check_stops(answers.stop);
  if (answers.max_new_tokens == 0) answers.max_new_tokens = tokens;
  return answers;
}

// The answer of a dialogue, shown as it grows.
std::string answer_shown(model::Dialogue& dialogue, const tokenizer::Tokenizer& tokenizer,
                         const Ids& prompt, const AnswerSettings& settings, const ShowText& show,
                         core::Reporter& reporter) {
  GrowingAnswer growing(tokenizer, settings.stop);
  std::size_t shown = 0;
  const auto show_up_to = [&](std::string_view text) {
    if (show && text.size() > shown) show(text.substr(shown));
    shown = std::max(shown, text.size());
  };
  model::GenerateOptions options{.max_new_tokens = settings.max_new_tokens,
                                 .stop_ids = tokenizer.end_ids,
                                 .stop_when = {},
                                 .sampling = sampling_of(settings)};
  options.stop_when = [&](std::size_t /*prompt*/, std::span<const TokenId> generated) {
    core::throw_if_stopped(reporter, "answering");
    const bool ended = growing.grow(generated);
    show_up_to(growing.certain());
    return ended;
  };
  const Ids ids = dialogue.answer(prompt, options);
  std::string text =
      cut_at_stops(tokenizer.decode(ids, {.skip_special_tokens = true}), settings.stop);
  show_up_to(text);
  return text;
}

}  // namespace

core::SettingsList generate_settings_of(ChatSettings& settings) {
  return settings_list(settings, /*prompts=*/true);
}

core::SettingsList chat_settings_of(ChatSettings& settings) {
  return settings_list(settings, /*prompts=*/false);
}

std::vector<std::string> generate_texts(const ChatSettings& settings, const ShowText& show,
                                        core::Reporter& reporter) {
  ChatSettings copy = settings;
  generate_settings_of(copy).check_values();
  refuse_unused_settings(settings, /*converses=*/false);
  linalg::set_threads(settings.threads);
  const AnswerSettings answers = complete(settings.answers, kGenerateTokens);
  const auto tokenizer = tokenizer::load_tokenizer(settings.model);
  std::vector<Ids> prompts;
  if (is_chat_template(settings.template_name)) {
    const ChatPrompts chat(settings.template_name, settings.model, *tokenizer, settings.date);
    for (const std::string& prompt : settings.prompts) {
      std::vector<ChatMessage> messages;
      if (!settings.system.empty()) messages.push_back({"system", settings.system});
      messages.push_back({"user", prompt});
      prompts.push_back(chat.ids_of(messages));
    }
  } else {
    const PromptEncoder encoder(*tokenizer, harness_named("0.4.13"), "auto", /*literal=*/true);
    for (const std::string& prompt : settings.prompts) prompts.push_back(encoder.encode(prompt));
  }
  if (prompts.empty()) throw core::ConfigError("there is no prompt to go on with (--prompt)");
  const model::Model model = load_model(choice_of(settings, settings.adapter), reporter);
  if (prompts.size() == 1) {
    data::require_rows(prompts.front(), {*tokenizer, model.config.vocab_size}, "the prompt");
    model::Dialogue dialogue(model);
    return {answer_shown(dialogue, *tokenizer, prompts.front(), answers, show, reporter)};
  }
  return answer_prompts(model, *tokenizer, prompts, answers, settings.batch_tokens, reporter);
}

struct Chat::State {
  explicit State(const ChatSettings& given)
      : settings(given), tokenizer(tokenizer::load_tokenizer(given.model)) {}

  ChatSettings settings;
  AnswerSettings answers;
  std::shared_ptr<const tokenizer::Tokenizer> tokenizer;
  // Model and dialogue are replaced together. The dialogue looks at the model, so the model must
  // not move.
  struct Loaded {
    Loaded(model::Model given, ChatPrompts templates)
        : model(std::move(given)), prompts(std::move(templates)), dialogue(model) {}
    model::Model model;
    ChatPrompts prompts;
    model::Dialogue dialogue;
  };
  std::unique_ptr<Loaded> loaded;
  std::vector<ChatMessage> messages;
  std::uint64_t turn = 0;

  void load(const std::string& adapter, core::Reporter& reporter) {
    ChatPrompts prompts(template_for(settings.template_name, adapter), settings.model, *tokenizer,
                        settings.date);
    // The old weights make room for the new ones once the adapter is known to fit.
    model::Model model =
        load_model(choice_of(settings, adapter), reporter, [this] { loaded.reset(); });
    loaded = std::make_unique<Loaded>(std::move(model), std::move(prompts));
  }

  void begin() {
    messages.clear();
    if (!settings.system.empty()) messages.push_back({"system", settings.system});
  }

  // The prompt, without the oldest turns where all do not fit.
  Ids prompt(core::Reporter& reporter) {
    const std::int64_t most = loaded->model.config.max_positions - answers.max_new_tokens;
    const auto first = static_cast<std::ptrdiff_t>(settings.system.empty() ? 0 : 1);
    std::int64_t forgotten = 0;
    while (true) {
      Ids ids = loaded->prompts.ids_of(messages);
      const auto length = static_cast<std::int64_t>(ids.size());
      if (length <= most || loaded->model.config.max_positions <= 0) {
        if (forgotten > 0)
          reporter.info(core::concat(forgotten,
                                     " oldest turns were forgotten: the conversation is "
                                     "longer than the model's positions"));
        return ids;
      }
      if (static_cast<std::ptrdiff_t>(messages.size()) <= first + 1) {
        throw core::ConfigError(core::concat("the message makes a prompt of ", length,
                                             " tokens; with an answer of ", answers.max_new_tokens,
                                             " at most ", std::max<std::int64_t>(most, 0),
                                             " fit the model"));
      }
      messages.erase(messages.begin() + first, messages.begin() + first + 2);
      ++forgotten;
    }
  }
};

Chat::Chat(const ChatSettings& settings, core::Reporter& reporter)
    : state_(std::make_unique<State>(settings)) {
  chat_settings_of(state_->settings).check_values();
  refuse_unused_settings(settings, /*converses=*/true);
  linalg::set_threads(settings.threads);
  state_->load(settings.adapter, reporter);
  // In a model with few positions the conversation gets half of them, the answer the rest.
  state_->answers =
      complete(settings.answers,
               std::min(kChatTokens,
                        std::max<std::int64_t>(1, state_->loaded->model.config.max_positions / 2)));
  state_->begin();
}

Chat::~Chat() = default;

std::string Chat::say(const std::string& message, const ShowText& show, core::Reporter& reporter) {
  if (!state_->loaded)
    throw core::ResourceError("there is no model any more: loading it again failed");
  const std::vector<ChatMessage> before = state_->messages;
  try {
    state_->messages.push_back({"user", message});
    const Ids prompt = state_->prompt(reporter);
    data::require_rows(prompt, {*state_->tokenizer, state_->loaded->model.config.vocab_size},
                       "the conversation");
    AnswerSettings answers = state_->answers;
    answers.seed += static_cast<std::int64_t>(state_->turn++);  // no turn draws as another does
    std::string answer =
        answer_shown(state_->loaded->dialogue, *state_->tokenizer, prompt, answers, show, reporter);
    state_->messages.push_back({"assistant", answer});
    return answer;
  } catch (...) {
    state_->messages = before;
    throw;
  }
}

void Chat::reset() {
  state_->begin();
  state_->turn = 0;
}

void Chat::use_adapter(const std::string& directory, core::Reporter& reporter) {
  state_->load(directory, reporter);
}

}  // namespace corda::eval
