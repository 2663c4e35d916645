// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A record of any format through any template: the one place where data become samples.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "corda/data/load.h"
#include "data/chat_template.h"
#include "data/record_reader.h"

namespace corda::data {

// The samples of one record, cut to the length allowed, and what was lost on the way.
struct EncodedRecord {
  std::vector<Sample> samples;
  std::vector<std::int64_t> borders;  // of the first sample; where wanted
  std::string place;                  // "FILE:LINE:COLUMN"; where borders are wanted, or notes()
  std::int64_t full_tokens = 0;       // before anything was cut
  std::int64_t truncated = 0;
  // How many samples were dropped and for what, as in EncodeCounts, and why the last of them was.
  std::int64_t too_long = 0;
  std::int64_t prompt_fills = 0;
  std::int64_t without_targets = 0;
  std::int64_t one_token = 0;
  std::string why_dropped;
  std::int64_t eos_appended = 0;
  bool hides_tools = false;    // the conversation has tools that its template does not look at
  std::string hidden_message;  // which message the template shows nothing of; "": none
  std::string hidden_key;      // the part of a message that the template does not look at; "": none
  bool dropped_nulls = false;  // of tools and calls
  bool legacy_calls = false;   // `function_call`
  bool empty_answer = false;   // is to be learnt

  // Whether something is to be said of it with its place.
  bool notes() const {
    return (samples.empty() && !why_dropped.empty()) || !hidden_message.empty() ||
           !hidden_key.empty() || dropped_nulls || legacy_calls || empty_answer;
  }
};

// Adds a piece of a text, or counts it where it is a single token.
void add_piece(Sample piece, EncodedRecord& into);

class RecordEncoder {
 public:
  // Throws ConfigError and FormatError for settings that are wrong and templates that are not
  // there; both outlive the encoder.
  RecordEncoder(const tokenizer::Tokenizer& tokenizer, const EncodeSettings& settings);

  // Which template records of that format go through ("auto" resolved), and where it came from.
  // Throws ConfigError where the format and the template do not go together.
  std::string template_of(const std::string& format);

  // May be called from several threads once template_of() has been called for `format`. Throws
  // FormatError with the record's place.
  EncodedRecord encode(const DataFile& file, const Record& record, const std::string& format,
                       bool with_borders = false) const;

  // The chat template in use, or nullptr while there is none.
  const ChatTemplate* chat() const { return chat_.get(); }

 private:
  bool goes_through_chat(const std::string& format) const;
  bool needs_conversation(const DataFile& file, const Record& record,
                          const std::string& format) const;
  void encode_instruction(const DataFile& file, const Record& record, const std::string& format,
                          bool with_borders, EncodedRecord& into) const;
  void encode_conversation(const DataFile& file, const Record& record, const std::string& format,
                           bool with_borders, EncodedRecord& into) const;
  // `all_prompt`: why no token of it may be supervised.
  void cut(Sample sample, const std::string& all_prompt, EncodedRecord& into) const;

  const tokenizer::Tokenizer& tokenizer_;
  const EncodeSettings& settings_;
  std::string date_;
  std::unique_ptr<ChatTemplate> chat_;
};

}  // namespace corda::data
