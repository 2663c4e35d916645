// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Calibration documents (text, qa) as one sequence of tokens.
#pragma once

#include <cstdint>
#include <string>

#include "data/record_stream.h"
#include "data/text_tokens.h"

namespace corda::data {

// The default of `qa_text`: questions with their answers; else questions alone.
inline constexpr const char* kQaDocuments = "question-answer";

// Texts that follow each other are joined by blank lines and tokenised as one; question-answer
// documents are tokenised one by one.
class CalibrationTokens {
 public:
  using Sink = TextTokens::Sink;

  // `tokenizer` and `sink` outlive it.
  CalibrationTokens(const tokenizer::Tokenizer& tokenizer, std::string qa_text,
                    std::int64_t threads, const Sink& sink);

  // `is_part`: goes on where the record before ended.
  void add(const RecordStream& stream, const Record& record, bool is_part);
  void finish();

 private:
  void add_text(const std::string& text, bool is_part);
  void add_document(const QaRecord& qa);

  const tokenizer::Tokenizer& tokenizer_;
  std::string qa_text_;
  const Sink& sink_;
  TextTokens text_;
  bool has_text_ = false;
};

}  // namespace corda::data
