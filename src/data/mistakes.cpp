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
  // Where one token is both BOS and EOS, twice in a row can be right.
  const bool twice = tokenizer.bos_id && tokenizer.bos_id != tokenizer.eos_id &&
                     sample.ids.size() > 1 && sample.ids[0] == *tokenizer.bos_id &&
                     sample.ids[1] == *tokenizer.bos_id;
  counts.double_bos += twice ? 1 : 0;
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
  if (counts.dropped > 0) {
    found.push_back(concat(
        counts.dropped, " samples were dropped: ",
        settings.overlong == "drop" ? concat("longer than ", settings.max_length, " tokens, or ")
                                    : std::string(),
        "without a supervised token",
        counts.without_targets > 0 ? concat(" (", counts.without_targets, " are all prompt)")
                                   : std::string()));
  }
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
  if (chat != nullptr && !chat->missing_tokens().empty()) {
    found.push_back(concat("the template '", chat->name(),
                           "' is made for other models: ", core::join(chat->missing_tokens(), ", "),
                           " are no special tokens of this vocabulary and become several tokens"));
  }
  if (chat != nullptr && settings.template_name != "auto" && settings.template_name != "chat" &&
      ChatTemplate::model_has_one(settings.model_directory)) {
    found.push_back(
        concat("the model carries a chat template of its own, and the data go through '",
               chat->name(), "'; 'template: chat' would use the model's"));
  }
  return found;
}

}  // namespace corda::data
