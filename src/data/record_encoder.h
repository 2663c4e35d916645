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
  std::string place;                  // "FILE:LINE:COLUMN"; where borders are wanted
  std::int64_t full_tokens = 0;       // before anything was cut
  std::int64_t truncated = 0;
  std::int64_t too_long = 0;      // dropped for their length
  std::int64_t unsupervised = 0;  // dropped because no token of theirs is supervised
  std::int64_t eos_appended = 0;
  bool hides_tools = false;  // the conversation has tools that its template does not look at
};

// Adds a sample, or counts it where no token of it is supervised.
void add_if_supervised(Sample sample, EncodedRecord& into);

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
  void cut(Sample sample, EncodedRecord& into) const;

  const tokenizer::Tokenizer& tokenizer_;
  const EncodeSettings& settings_;
  std::string date_;
  std::unique_ptr<ChatTemplate> chat_;
};

}  // namespace corda::data
