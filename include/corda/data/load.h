// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// From data files to samples, documents and questions.
#pragma once

#include <optional>

#include "corda/core/reporter.h"
#include "corda/data/sample_store.h"

namespace corda::data {

// What leaves out bad records, as most verbs name it.
inline constexpr const char* kSkipSwitch = "--skip-bad";

struct EncodeSettings {
  // auto | chat | plain | a named template (see include/corda/data/names.h) | FILE.jinja
  std::string template_name = "auto";
  // It is that of an adapter's training, and nobody asked for it: nothing is to be said against it.
  bool template_is_trained = false;
  fs::path model_directory = {};          // where the model's own chat template is looked for
  std::string train_on = "assistant";     // assistant | last | all
  std::string system = {};                // replaces the system prompt of the data where not empty
  std::string date = {};                  // YYYY-MM-DD that templates show; empty: today()
  std::int64_t max_length = 0;            // tokens; 0: no limit
  std::string overlong = "truncate";      // truncate | drop
  bool skip_bad = false;                  // leave out what cannot be read, instead of stopping
  std::string skip_switch = kSkipSwitch;  // what errors name as the way to set skip_bad
  std::int64_t threads = 0;               // that tokenise; 0: all. The result is the same
  fs::path cache = {};                    // directory for tokenised data; empty: in memory
};

// The local day of the clock, as "2026-11-24"; what an empty date stands for.
std::string today();

// How many records there are of which the same is to be said, and the first of them.
struct Noted {
  std::int64_t count = 0;
  std::string first = {};  // "FILE:LINE:COLUMN" and perhaps what
};

struct EncodeCounts {
  std::int64_t records = 0;
  std::int64_t samples = 0;
  std::int64_t truncated = 0;
  std::int64_t dropped = 0;  // too long, or without a supervised token: the next four together
  std::int64_t too_long = 0;
  std::int64_t prompt_fills = 0;     // cut within the prompt: nothing of the answer is left
  std::int64_t without_targets = 0;  // all prompt, nothing to learn
  std::int64_t one_token = 0;        // texts, and last pieces of them, of one token or none
  std::int64_t tokens = 0;
  std::int64_t supervised = 0;
  std::int64_t longest = 0;       // tokens of the longest sample
  std::int64_t bad = 0;           // records left out with skip_bad
  std::int64_t with_end = 0;      // samples with EOS or another special token among the targets
  std::int64_t double_bos = 0;    // samples that begin with BOS twice
  std::int64_t eos_appended = 0;  // conversations whose template ends without an end token
  std::int64_t hidden_tools = 0;  // conversations with tools that the template does not show
  Noted hidden_messages;          // a message that the template shows nothing of
  Noted hidden_keys;              // part of a message that the template does not show
  Noted dropped_nulls;            // nulls in tools or arguments, read as absent
  Noted legacy_calls;             // `function_call`, read as a tool call
  Noted empty_answers;            // an answer to be learnt that says nothing
  // Where the first records that were dropped stand, and why: "FILE:LINE:COLUMN: why".
  std::vector<std::string> dropped_list = {};
};
// The template that shaped the samples.
struct TemplateUsed {
  std::string name;           // "none" for plain text
  std::string chat_template;  // Jinja, where it is not the model's own: for the exported model
};

struct Dataset {
  SampleStore samples;
  EncodeCounts counts;
  TemplateUsed template_used;
  std::vector<std::int64_t> file_samples =
      {};  // how many of the samples are of each file, in order
};

// The format a file would be read in: `file.format`, or for "auto" the one its first record shows
// (with `skip_bad` the first that can be read). Throws FormatError where none fits, listing the
// columns found.
std::string detect_format(const DataFile& file, bool skip_bad = false);

// How many records a file gives; `file.count` bounds them, a plain text is one. With `skip_bad`
// those that are no records are left out; what a record holds is not looked at. Throws as reading
// does.
std::int64_t count_records(const DataFile& file, bool skip_bad = false,
                           const std::string& skip_switch = kSkipSwitch);

// Makes samples of every format. `text`: every token supervised but the first; a document longer
// than max_length becomes consecutive samples, a last piece of one token being dropped and counted.
// Instruction formats (alpaca, prompt-completion, qa) with template alpaca or plain: BOS first
// where the tokenizer says so, prompt and response tokenised as one text, EOS; the response and EOS
// are supervised. `messages` and `sharegpt`, and instruction formats with another template: the
// chat template's rendering, the assistant's turns and their end tokens being supervised
// (`train_on` and each message's `train` choose which). Template auto is the model's own; where it
// has none, alpaca for instructions. Reports what it chose, dropped and truncated, and warns of the
// known mistakes. With a cache directory, tokenised data are kept there under a hash of files,
// tokenizer and settings, and are mapped, not held; several processes may use one directory.
// Records stream: memory does not grow with the files, but for the samples where there is no cache.
// Throws FormatError (file:line:column: reason) for the first bad record unless skip_bad, and
// ConfigError where no sample or no supervised token is left.
Dataset load_samples(const std::vector<DataFile>& files, const tokenizer::Tokenizer& tokenizer,
                     const EncodeSettings& settings, core::Reporter& reporter);

// The records of a `qa` file. Columns: question, answer | answers (text or list). Bad records are
// errors, or with `skip_bad` reported and left out.
std::vector<QaRecord> load_qa(const DataFile& file, bool skip_bad, core::Reporter& reporter);

// The documents of a `text` file: lines' `text` column of JSONL and JSON, the whole file for plain
// text.
std::vector<std::string> load_text(const DataFile& file, bool skip_bad, core::Reporter& reporter);

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

// Parses `--columns instruction=question,output=answer`: which column of the file a field of the
// format is (a dotted column goes into nested objects and lists). Throws ConfigError for a
// malformed or doubled entry.
std::map<std::string, std::string> parse_columns(const std::string& text);

}  // namespace corda::data
