// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// From data files to samples, documents and questions.
#pragma once

#include <optional>

#include "corda/core/reporter.h"
#include "corda/data/sample.h"

namespace corda::data {

struct EncodeSettings {
  std::string template_name = "alpaca";  // alpaca | plain
  std::int64_t max_length = 0;           // tokens; 0: no limit
  std::string overlong = "truncate";     // truncate | drop
};

struct EncodeCounts {
  std::int64_t records = 0;
  std::int64_t samples = 0;
  std::int64_t truncated = 0;
  std::int64_t dropped = 0;
  std::int64_t tokens = 0;
  std::int64_t supervised = 0;
};

struct Dataset {
  std::vector<Sample> samples;
  EncodeCounts counts;
};

// The format a file would be read in: `file.format`, or for "auto" the one its first record shows.
// Throws FormatError where none fits, listing the columns found.
std::string detect_format(const DataFile& file);

// Samples of instruction formats (alpaca, prompt-completion, qa) rendered through the template, and
// of `text` (every token supervised but the first; a document longer than max_length becomes
// consecutive samples, a last piece of one token being dropped and counted). BOS first where the
// tokenizer says so, EOS last and supervised; the response alone is supervised in instruction
// formats. Reports what it chose, dropped and truncated. Throws FormatError (file:line: reason),
// and ConfigError where no sample or no supervised token is left.
Dataset load_samples(const std::vector<DataFile>& files, const tokenizer::Tokenizer& tokenizer,
                     const EncodeSettings& settings, core::Reporter& reporter);

// The records of a `qa` file. Columns: question, answer | answers (text or list).
std::vector<QaRecord> load_qa(const DataFile& file);

// The documents of a `text` file: lines' `text` column of JSONL and JSON, the whole file for plain
// text.
std::vector<std::string> load_text(const DataFile& file);

// "Question: q\nAnswer:" - how a closed-book question is put to a base model.
std::string qa_prompt(const std::string& question);

struct CalibrationSettings {
  std::int64_t samples = 256;
  std::int64_t seq_len = 2048;
  std::uint64_t seed = 233;
  std::string qa_text = "question-answer";  // question-answer | question (the paper's)
  EncodeSettings encode = {};               // for instruction formats: the training template
};

// Token sequences for calibration. `text` and `qa`: random windows of exactly `seq_len` tokens out
// of all documents joined (qa documents are BOS "Question: q\nAnswer: a" EOS, or questions joined
// by blank lines); instruction formats: `samples` random whole samples cut at `seq_len`. Reports
// where fewer tokens than asked for are there; throws ConfigError where there is nothing to draw
// from.
std::vector<std::vector<TokenId>> load_calibration(const std::vector<DataFile>& files,
                                                   const tokenizer::Tokenizer& tokenizer,
                                                   const CalibrationSettings& settings,
                                                   core::Reporter& reporter);

// Field of the format -> column of the file (a dotted column goes into nested objects and lists),
// for `--columns instruction=question,output=answer`. Throws ConfigError for a malformed or doubled
// entry.
std::map<std::string, std::string> parse_columns(const std::string& text);

}  // namespace corda::data
