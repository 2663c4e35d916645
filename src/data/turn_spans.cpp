// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/turn_spans.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "corda/core/error.h"

namespace corda::data {

using core::concat;
using tokenizer::ByteSpan;

namespace {

// The message whose text is in [begin, end), where it is the text of exactly one.
std::optional<std::size_t> message_in(const jinja::Rendering& full, const jinja::OutputSpan& span) {
  std::optional<std::size_t> found;
  for (const auto& source : full.sources) {
    if (source.end <= span.begin || source.begin >= span.end) continue;
    if (source.source < 0 || source.source >= kOtherSource) continue;
    const auto index = static_cast<std::size_t>(source.source);
    if (found && *found != index) return std::nullopt;
    found = index;
  }
  return found;
}

// The generation spans of the wanted messages; nothing where the template marks none or does not
// say whose they are.
std::optional<std::vector<ByteSpan>> marked_spans(const Conversation& conversation,
                                                  const jinja::Rendering& full,
                                                  const std::vector<std::size_t>& wanted) {
  if (full.generation.empty() || full.unplaced_generation > 0) return std::nullopt;
  std::vector<std::size_t> assistants;
  for (std::size_t i = 0; i < conversation.messages.size(); ++i) {
    if (is_assistant(conversation.messages[i])) assistants.push_back(i);
  }
  const bool all_assistants = wanted == assistants;
  const bool one_each = full.generation.size() == assistants.size();
  std::vector<ByteSpan> spans;
  for (std::size_t i = 0; i < full.generation.size(); ++i) {
    const auto owner = message_in(full, full.generation[i]);
    if (!all_assistants) {
      const auto index = owner ? owner : one_each ? std::optional(assistants[i]) : std::nullopt;
      if (!index) return std::nullopt;
      if (!std::binary_search(wanted.begin(), wanted.end(), *index)) continue;
    }
    spans.push_back({full.generation[i].begin, full.generation[i].end});
  }
  return spans;
}

bool only_special(const tokenizer::Tokenizer& tokenizer, std::string_view text) {
  const auto ids = tokenizer.encode(text);
  return !ids.empty() &&
         std::all_of(ids.begin(), ids.end(), [&](TokenId id) { return tokenizer.is_special(id); });
}

// Renders more and more of the conversation and compares.
class Incremental {
 public:
  Incremental(const tokenizer::Tokenizer& tokenizer, const ChatTemplate& chat,
              const Conversation& conversation, const jinja::Rendering& full)
      : tokenizer_(tokenizer),
        chat_(chat),
        conversation_(conversation),
        rendering_(full),
        full_(full.text) {}

  ByteSpan span_of(std::size_t index) const {
    const bool answers = is_assistant(conversation_.messages[index]);
    std::string before;
    std::string why;
    if (index > 0 || answers) {
      try {
        before = chat_.render(conversation_, index, answers).text;
      } catch (const core::FormatError& error) {
        why = concat("rendering the conversation up to it fails: ", error.what());
      }
    }
    if (why.empty() && !full_.starts_with(before)) {
      why = answers ? "the prompt before it, with the generation prompt, is no beginning of "
                      "the whole conversation"
                    : "the conversation before it is no beginning of the whole";
    }
    if (why.empty()) return {static_cast<std::int64_t>(before.size()), end_of(index)};
    if (answers && opens(index)) return {opening_begin(index), end_of(index)};
    refuse(index, why);
  }

 private:
  std::string render_upto(std::size_t count, std::size_t index) const {
    try {
      return chat_.render(conversation_, count, false).text;
    } catch (const core::FormatError& error) {
      refuse(index, concat("rendering the conversation up to it fails: ", error.what()));
    }
  }

  // Whether no user has spoken before it: many templates can render nothing of what is before it.
  bool opens(std::size_t index) const {
    return std::none_of(conversation_.messages.begin(),
                        conversation_.messages.begin() + static_cast<std::ptrdiff_t>(index),
                        [](const Message& message) { return message.role() != "system"; });
  }

  // Where the turn of an assistant begins who speaks first: at its text, in front of which the
  // generation prompt must stand.
  std::int64_t opening_begin(std::size_t index) const {
    const auto source = static_cast<std::int32_t>(index);
    const auto found = std::find_if(rendering_.sources.begin(), rendering_.sources.end(),
                                    [&](const auto& span) { return span.source == source; });
    const std::string prompt = generation_prompt();
    if (found == rendering_.sources.end() || prompt.empty() ||
        !std::string_view(full_)
             .substr(0, static_cast<std::size_t>(found->begin))
             .ends_with(prompt)) {
      throw core::FormatError(concat(
          "the conversation begins with the assistant, whose message does not stand directly "
          "behind the generation prompt of the template '",
          chat_.name(),
          "'; begin it with a user's message, or take a template with {% generation %} "
          "marks"));
    }
    return found->begin;
  }

  // What the template puts behind a user's message for the assistant to go on.
  std::string generation_prompt() const {
    Conversation one;
    one.messages.push_back({.value = {{"role", "user"}, {"content", "x"}}});
    const std::string without = chat_.render(one, 1, false).text;
    const std::string with = chat_.render(one, 1, true).text;
    return with.starts_with(without) ? with.substr(without.size()) : std::string();
  }

  // Where the turn ends: the end of the conversation up to it, which may be followed by special
  // tokens (an end of the text) that the whole conversation has only at its own end.
  std::int64_t end_of(std::size_t index) const {
    const auto size = static_cast<std::int64_t>(full_.size());
    if (index + 1 == conversation_.messages.size()) return size;
    const std::string upto = render_upto(index + 1, index);
    if (full_.starts_with(upto)) return static_cast<std::int64_t>(upto.size());
    const auto differ = std::mismatch(upto.begin(), upto.end(), full_.begin(), full_.end());
    const auto common = static_cast<std::size_t>(differ.first - upto.begin());
    // Back to where the special token begins in which they differ.
    for (std::size_t at = common + 1; at-- > 0 && common - at <= 64;) {
      if (only_special(tokenizer_, std::string_view(upto).substr(at)))
        return static_cast<std::int64_t>(at);
    }
    refuse(index, "it reads differently once later messages follow");
  }

  [[noreturn]] void refuse(std::size_t index, const std::string& why) const {
    throw core::FormatError(
        concat("the loss mask of message ", index, " cannot be told from the template '",
               chat_.name(), "': it has no generation marks, and ", why, "; use ",
               index + 1 < conversation_.messages.size() ? "train_on: last, " : "",
               "a named template, or one with {% generation %} marks"));
  }

  const tokenizer::Tokenizer& tokenizer_;
  const ChatTemplate& chat_;
  const Conversation& conversation_;
  const jinja::Rendering& rendering_;
  const std::string& full_;
};

}  // namespace

std::vector<ByteSpan> turn_spans(const tokenizer::Tokenizer& tokenizer, const ChatTemplate& chat,
                                 const Conversation& conversation, const jinja::Rendering& full,
                                 const std::vector<std::size_t>& wanted) {
  const bool assistants_only = std::all_of(wanted.begin(), wanted.end(), [&](std::size_t i) {
    return is_assistant(conversation.messages[i]);
  });
  if (assistants_only) {
    if (auto spans = marked_spans(conversation, full, wanted)) return *spans;
  }
  const Incremental incremental(tokenizer, chat, conversation, full);
  std::vector<ByteSpan> spans;
  for (const std::size_t index : wanted) {
    const ByteSpan span = incremental.span_of(index);
    if (span.end < span.begin || (!spans.empty() && spans.back().end > span.begin)) {
      throw core::FormatError(concat("the template '", chat.name(),
                                     "' does not keep the order of the messages: message ", index,
                                     " begins before the turn in front of it ends"));
    }
    spans.push_back(span);
  }
  return spans;
}

}  // namespace corda::data
