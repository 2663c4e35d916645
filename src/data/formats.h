// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The formats of records: which columns each needs, how to recognise it, what a record says in it.
#pragma once

#include <string>
#include <vector>

#include "corda/data/sample.h"
#include "corda/data/template.h"
#include "data/record_reader.h"

namespace corda::data {

// Throws ConfigError for an unknown format, and for columns of fields that the format does not
// have.
void check_format(const DataFile& file);

// `file.format`; for "auto" the first format all of whose fields the record has, one of them not
// null. Prompt and completion that are lists of messages (TRL's) are of the format `messages`.
// Throws FormatError, listing the columns found.
std::string detect_format(const DataFile& file, const Record& record);

// What is to be said of a record's columns.
struct ColumnNotes {
  std::vector<std::string> unread;    // names of columns
  std::vector<std::string> remarks;   // how a column is read, where that is not what it says
  std::vector<std::string> warnings;  // sentences with its place
};

// Warnings: mapped columns that are not there, and columns that say something which the format does
// not take from them (tools, labels, images).
ColumnNotes column_notes(const DataFile& file, const Record& record, const std::string& format);

// Whether records of this format are conversations: messages, sharegpt.
bool is_chat_format(const std::string& format);

// What the record says. Throws FormatError with its place for a column that is missing or no text.
std::string text_of(const DataFile& file, const Record& record);
// Answers are those of `answer` and `answers`; where the file maps one of the two, of that one.
QaRecord qa_of(const DataFile& file, const Record& record);

// What an alpaca record asks for. An input without an instruction stands as the instruction.
struct Request {
  std::string instruction;
  std::string input;
};
Request request_of(const DataFile& file, const Record& record);
// Instruction and input as one text, with a blank line between them.
std::string joined(const Request& request);

// The prompt and response of a record of an instruction format. `alpaca` template: question and
// prompt stand as instruction, answer and completion as output. `plain`: question and answer as in
// qa_prompt, prompt and completion verbatim, an instruction (and its input) followed by a blank
// line.
PromptResponse prompt_response_of(const DataFile& file, const Record& record,
                                  const std::string& format, const std::string& template_name);

}  // namespace corda::data
