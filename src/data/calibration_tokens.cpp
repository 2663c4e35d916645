// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/calibration_tokens.h"

#include <utility>
#include <vector>

#include "corda/data/load.h"
#include "corda/data/template.h"
#include "data/formats.h"

namespace corda::data {

CalibrationTokens::CalibrationTokens(const tokenizer::Tokenizer& tokenizer, std::string qa_text,
                                     std::int64_t threads, const Sink& sink)
    : tokenizer_(tokenizer),
      qa_text_(std::move(qa_text)),
      sink_(sink),
      text_(tokenizer, threads, sink) {}

void CalibrationTokens::add(const RecordStream& stream, const Record& record, bool is_part) {
  if (stream.format() == "text") {
    add_text(text_of(stream.file(), record), is_part);
    return;
  }
  const QaRecord qa = qa_of(stream.file(), record);
  if (qa_text_ == kQaDocuments) {
    add_document(qa);
  } else {
    add_text(qa.question, false);
  }
}

void CalibrationTokens::finish() {
  if (std::exchange(has_text_, false)) text_.finish();
}

void CalibrationTokens::add_text(const std::string& text, bool is_part) {
  if (has_text_ && !is_part) text_.add("\n\n");
  text_.add(text);
  has_text_ = true;
}

void CalibrationTokens::add_document(const QaRecord& qa) {
  finish();
  std::vector<TokenId> ids = tokenizer_.prefix;
  const auto text = encode_plain(tokenizer_, qa_prompt(qa.question) + " " + qa.answers.front());
  ids.insert(ids.end(), text.begin(), text.end());
  // Where one id is both, the next document's BOS ends this one.
  if (tokenizer_.eos_id && !(tokenizer_.prefix == std::vector<TokenId>{*tokenizer_.eos_id}))
    ids.push_back(*tokenizer_.eos_id);
  sink_(ids);
}

}  // namespace corda::data
