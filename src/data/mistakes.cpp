// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/mistakes.h"

#include <algorithm>

#include "corda/core/error.h"
#include "corda/core/text.h"

namespace corda::data {

using core::concat;

void count_sample(const Sample& sample, const tokenizer::Tokenizer& tokenizer,
                  EncodeCounts& counts) {
  ++counts.samples;
  const auto length = static_cast<std::int64_t>(sample.ids.size());
  counts.tokens += length;
  counts.longest = std::max(counts.longest, length);
  bool with_end = false;
  for (std::size_t t = 0; t < sample.ids.size(); ++t) {
    if (sample.supervised[t] == 0) continue;
    ++counts.supervised;
    with_end = with_end || sample.ids[t] == tokenizer.eos_id || tokenizer.is_special(sample.ids[t]);
  }
  counts.with_end += with_end ? 1 : 0;
  // BOS twice is a mistake only where BOS is not EOS too: then two in a row can be right.
  const bool twice = tokenizer.bos_id && tokenizer.bos_id != tokenizer.eos_id &&
                     sample.ids.size() > 1 && sample.ids[0] == *tokenizer.bos_id &&
                     sample.ids[1] == *tokenizer.bos_id;
  counts.double_bos += twice ? 1 : 0;
}

void count_record(const EncodedRecord& encoded, EncodeCounts& counts) {
  ++counts.records;
  counts.truncated += encoded.truncated;
  counts.too_long += encoded.too_long;
  counts.prompt_fills += encoded.prompt_fills;
  counts.without_targets += encoded.without_targets;
  counts.one_token += encoded.one_token;
  counts.dropped +=
      encoded.too_long + encoded.prompt_fills + encoded.without_targets + encoded.one_token;
  counts.eos_appended += encoded.eos_appended;
  counts.hidden_tools += encoded.hides_tools ? 1 : 0;
  const auto note = [&](bool is_so, Noted& noted, const std::string& what) {
    if (is_so && noted.count++ == 0) noted.first = encoded.place + what;
  };
  note(!encoded.hidden_message.empty(), counts.hidden_messages, ", " + encoded.hidden_message);
  note(!encoded.hidden_key.empty(), counts.hidden_keys, ", '" + encoded.hidden_key + "'");
  note(encoded.dropped_nulls, counts.dropped_nulls, "");
  note(encoded.legacy_calls, counts.legacy_calls, "");
  note(encoded.empty_answer, counts.empty_answers, "");
  const bool lost = encoded.samples.empty() && !encoded.why_dropped.empty();
  if (lost && std::ssize(counts.dropped_list) < kRecordsListed)
    counts.dropped_list.push_back(concat(encoded.place, ": ", encoded.why_dropped));
}

namespace {

// Each cause with what helps against it.
std::vector<std::string> causes_of(const EncodeCounts& counts, const EncodeSettings& settings) {
  std::vector<std::string> causes;
  const auto add = [&](std::int64_t count, const auto&... text) {
    if (count > 0) causes.push_back(concat(count, text...));
  };
  add(counts.too_long, " are longer than ", settings.max_length,
      " tokens (overlong: drop): raise max_length, or let them be cut (overlong: truncate)");
  add(counts.prompt_fills, " have a prompt that alone fills max_length (", settings.max_length,
      " tokens), so that nothing of the answer is left: raise max_length");
  add(counts.without_targets, " are all prompt: nothing in them is to be learnt");
  add(counts.one_token,
      " are texts, or last pieces of texts, that are empty or a single token, which nothing "
      "predicts");
  return causes;
}

void add_dropped(const EncodeCounts& counts, const EncodeSettings& settings,
                 std::vector<std::string>& found) {
  for (const auto& each : counts.dropped_list) found.push_back(concat("dropped: ", each));
  if (counts.dropped == 0) return;
  found.push_back(concat(counts.dropped,
                         " samples were dropped: ", core::join(causes_of(counts, settings), "; ")));
}

void add_noted(const EncodeCounts& counts, std::vector<std::string>& found) {
  const auto add = [&](const Noted& noted, const char* what, const char* advice) {
    if (noted.count > 0)
      found.push_back(concat(noted.count, what, ", the first in ", noted.first, ": ", advice));
  };
  add(counts.hidden_messages, " conversations have a message that the template shows nothing of",
      "choose a template that knows its role, or take it out of the data");
  add(counts.hidden_keys, " conversations have a part of a message that the template does not show",
      "choose a template that shows it, or take it out of the data");
  add(counts.dropped_nulls, " conversations have nulls inside tools or arguments of calls",
      "they are read as absent, since tables fill them in; a null that is meant can stand in "
      "arguments or tools that are JSON text");
  add(counts.legacy_calls, " conversations have 'function_call'", "it is read as 'tool_calls'");
  add(counts.empty_answers, " records have an answer that is empty",
      "the model learns to say nothing there");
}

}  // namespace

std::string why_no_sample(const EncodeCounts& counts, const EncodeSettings& settings) {
  const auto causes = causes_of(counts, settings);
  return concat("none of the ", counts.records + counts.bad,
                " records gives a sample with a supervised token",
                counts.bad > 0 ? concat(" (", counts.bad, " are bad)") : std::string(),
                causes.empty() ? "" : ": ", core::join(causes, "; "),
                "; corda preview shows what the data become");
}

std::string unused_template(const EncodeSettings& settings) {
  std::vector<std::string> asked;
  if (settings.template_name != "auto" && settings.template_name != "plain" &&
      !settings.template_is_trained)
    asked.emplace_back("'template'");
  if (!settings.system.empty()) asked.emplace_back("'system'");
  if (asked.empty()) return "";
  return concat("these data are read as they are, without a template: ", core::listed(asked),
                asked.size() == 1 ? " changes nothing" : " change nothing");
}

std::vector<std::string> find_mistakes(const EncodeCounts& counts,
                                       const tokenizer::Tokenizer& tokenizer,
                                       const EncodeSettings& settings, const ChatTemplate* chat) {
  std::vector<std::string> found = tokenizer.notes;
  const bool no_end = counts.samples > 0 && counts.with_end == 0;
  if (!tokenizer.eos_id && no_end) {
    found.emplace_back(
        "the tokenizer names no EOS token: samples end without one, and the model will not learn "
        "to stop");
  } else if (no_end) {
    found.push_back(
        concat("no sample has EOS or an end token among its targets: the model will "
               "not learn to stop",
               tokenizer.pad_id && tokenizer.pad_id == tokenizer.eos_id
                   ? "; the padding token is EOS, and it is masked"
                   : ""));
  }
  if (counts.truncated > 0) {
    found.push_back(concat(counts.truncated, " samples were longer than ", settings.max_length,
                           " tokens and were cut there; they have no EOS"));
  }
  add_dropped(counts, settings, found);
  if (counts.double_bos > 0)
    found.push_back(concat(counts.double_bos, " samples begin with BOS twice"));
  if (counts.eos_appended > 0) {
    found.push_back(concat("the template ends ", counts.eos_appended,
                           " conversations without an end token; EOS was appended to them"));
  }
  if (counts.hidden_tools > 0) {
    found.push_back(concat(counts.hidden_tools,
                           " conversations have tools that the template does not show: choose a "
                           "template with tools, or take them out of the data"));
  }
  add_noted(counts, found);
  if (const std::string unused = unused_template(settings); chat == nullptr && !unused.empty())
    found.push_back(unused);
  if (chat != nullptr && !chat->missing_tokens().empty()) {
    found.push_back(concat("the template '", chat->name(),
                           "' is made for other models: ", core::join(chat->missing_tokens(), ", "),
                           " are no special tokens of this vocabulary and become several tokens"));
  }
  if (chat != nullptr && settings.template_name != "auto" && settings.template_name != "chat" &&
      !settings.template_is_trained && ChatTemplate::model_has_one(settings.model_directory)) {
    found.push_back(
        concat("the model carries a chat template of its own, and the data go through '",
               chat->name(), "'; 'template: chat' would use the model's"));
  }
  return found;
}

}  // namespace corda::data
