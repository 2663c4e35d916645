// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/encode_chat.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "data/span_tokens.h"
#include "data/turn_spans.h"

namespace corda::data {

using tokenizer::ByteSpan;

namespace {

std::vector<std::size_t> wanted_messages(const Conversation& conversation,
                                         const std::string& train_on) {
  const auto& messages = conversation.messages;
  std::size_t last = messages.size();
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (is_assistant(messages[i]) && !messages[i].in_prompt) last = i;
  }
  std::vector<std::size_t> wanted;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const bool answers = is_assistant(messages[i]) && !messages[i].in_prompt;
    const bool by_default = train_on == "all" || (train_on == "last" ? i == last : answers);
    if (messages[i].train.value_or(by_default)) wanted.push_back(i);
  }
  return wanted;
}

// The spans that are text whatever they read like. A blended one that reads as a special token
// could be either.
std::vector<ByteSpan> literal_spans(const tokenizer::Tokenizer& tokenizer,
                                    const jinja::Rendering& full) {
  std::vector<ByteSpan> spans;
  for (const auto& source : full.sources) {
    spans.push_back({source.begin, source.end});
    if (source.source != jinja::kMixedSource) continue;
    const auto text =
        std::string_view(full.text).substr(static_cast<std::size_t>(source.begin),
                                           static_cast<std::size_t>(source.end - source.begin));
    for (const TokenId id : tokenizer.encode(text)) {
      if (!tokenizer.is_special(id)) continue;
      throw core::FormatError(core::concat(
          "the template blends its own text with that of a message, and the result holds the "
          "special token '",
          tokenizer.id_to_token(id), "': it cannot be told whose it is"));
    }
  }
  return spans;
}

// The end of a turn belongs to it: without it the model does not learn to stop. Where the turn is
// its message's text alone, the special token behind it is its end; else only EOS is.
void supervise_end(const tokenizer::Tokenizer& tokenizer, Sample& sample, std::size_t content_end,
                   std::size_t end) {
  for (std::size_t t = content_end; t < end; ++t) {
    if (tokenizer.is_special(sample.ids[t])) return;
  }
  if (end >= sample.ids.size() || !tokenizer.is_special(sample.ids[end])) return;
  if (content_end == end || sample.ids[end] == tokenizer.eos_id) sample.supervised[end] = 1;
}

// The place behind the last byte in [begin, end) that some message wrote.
std::int64_t content_end(const jinja::Rendering& full, const ByteSpan& span) {
  std::int64_t end = span.begin;
  for (const auto& source : full.sources) {
    if (source.begin < span.end) end = std::max(end, std::min(source.end, span.end));
  }
  return end;
}

bool says_something(const Message& message) {
  const auto content = message.value.find("content");
  const bool text = content != message.value.end() && content->is_string() &&
                    !core::trim(content->get_ref<const std::string&>()).empty();
  return text || message.value.contains("tool_calls");
}

// The first message of which nothing is in the rendering. Text that is blended may be anybody's.
std::optional<std::size_t> hidden_message(const Conversation& conversation,
                                          const jinja::Rendering& full) {
  std::vector<bool> shown(conversation.messages.size(), false);
  for (const auto& source : full.sources) {
    if (source.source == jinja::kMixedSource) return std::nullopt;
    const auto index = static_cast<std::size_t>(source.source);
    if (index < shown.size()) shown[index] = true;
  }
  for (std::size_t i = 0; i < shown.size(); ++i) {
    if (!shown[i] && says_something(conversation.messages[i])) return i;
  }
  return std::nullopt;
}

// The rendering up to the end of `begun`. A mark behind it shows where that is, and keeps templates
// that trim messages from its white space.
jinja::Rendering begun_answer(const ChatTemplate& chat, const Conversation& conversation,
                              const std::string& begun) {
  constexpr std::string_view kMark = "[the answer goes on here]";
  Conversation longer = conversation;
  longer.messages.push_back(
      {.value = {{"role", "assistant"}, {"content", core::concat(begun, kMark)}}});
  jinja::Rendering full =
      chat.render(longer, longer.messages.size(), /*add_generation_prompt=*/false);
  const std::size_t end = full.text.rfind(core::concat(begun, kMark));
  if (end == std::string::npos) {
    throw core::FormatError(
        "the chat template changes the beginning of an answer, so that no model can go on from it; "
        "take another template");
  }
  full.text.resize(end + begun.size());
  for (auto& source : full.sources)
    source.end = std::min(source.end, static_cast<std::int64_t>(full.text.size()));
  std::erase_if(full.sources, [](const auto& source) { return source.begin >= source.end; });
  return full;
}

}  // namespace

EncodedChat encode_chat(const tokenizer::Tokenizer& tokenizer, const ChatTemplate& chat,
                        const Conversation& conversation, const std::string& train_on,
                        bool with_borders) {
  const jinja::Rendering full =
      chat.render(conversation, conversation.messages.size(), /*add_generation_prompt=*/false);
  const auto wanted = wanted_messages(conversation, train_on);
  const bool whole = train_on == "all" && wanted.size() == conversation.messages.size();
  std::vector<ByteSpan> spans;
  if (whole) {
    spans = {{0, static_cast<std::int64_t>(full.text.size())}};
  } else {
    spans = turn_spans(tokenizer, chat, conversation, full, wanted);
  }
  std::vector<std::int64_t> places;
  for (const ByteSpan& span : spans) places.push_back(content_end(full, span));
  std::vector<std::int64_t> borders;
  if (with_borders) {
    for (const ByteSpan& span : spans) borders.insert(borders.end(), {span.begin, span.end});
    for (const auto& source : full.sources)
      borders.insert(borders.end(), {source.begin, source.end});
    places.insert(places.end(), borders.begin(), borders.end());
  }
  const auto literal = literal_spans(tokenizer, full);
  const SpanTokens tokens(tokenizer, full.text, spans, std::move(places), {.literal = literal});
  EncodedChat result;
  result.hidden_message = hidden_message(conversation, full);
  result.empty_answer = std::any_of(wanted.begin(), wanted.end(), [&](std::size_t i) {
    const Message& message = conversation.messages[i];
    return is_assistant(message) && !says_something(message);
  });
  Sample& sample = result.sample;
  sample.ids = tokens.ids();
  sample.supervised.assign(sample.ids.size(), 0);
  for (const ByteSpan& span : spans) {
    const TokenRange turn = tokens.tokens_of(span);
    std::fill(sample.supervised.begin() + static_cast<std::ptrdiff_t>(turn.begin),
              sample.supervised.begin() + static_cast<std::ptrdiff_t>(turn.end), std::uint8_t{1});
    supervise_end(tokenizer, sample, tokens.token_at(content_end(full, span)), turn.end);
  }
  const bool ends_supervised = !sample.ids.empty() && sample.supervised.back() == 1;
  if (ends_supervised && tokenizer.eos_id) {
    const std::size_t from = tokens.token_at(content_end(full, spans.back()));
    if (std::none_of(sample.ids.begin() + static_cast<std::ptrdiff_t>(from), sample.ids.end(),
                     [&](TokenId id) { return tokenizer.is_special(id); })) {
      sample.ids.push_back(*tokenizer.eos_id);
      sample.supervised.push_back(1);
      result.eos_appended = true;
    }
  }
  if (!sample.supervised.empty()) sample.supervised[0] = 0;
  std::sort(borders.begin(), borders.end());
  for (const std::int64_t border : borders) {
    const auto token = static_cast<std::int64_t>(tokens.token_at(border));
    if (result.borders.empty() || result.borders.back() != token) result.borders.push_back(token);
  }
  return result;
}

std::vector<TokenId> encode_chat_prompt(const tokenizer::Tokenizer& tokenizer,
                                        const ChatTemplate& chat, const Conversation& conversation,
                                        const std::string& begun) {
  const jinja::Rendering full =
      begun.empty()
          ? chat.render(conversation, conversation.messages.size(), /*add_generation_prompt=*/true)
          : begun_answer(chat, conversation, begun);
  const auto literal = literal_spans(tokenizer, full);
  return tokenizer.encode(full.text, {.literal = literal});
}

}  // namespace corda::data
