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

// The first format all of whose fields the record has. Throws FormatError, listing the columns
// found.
std::string detect_format(const DataFile& file, const Record& record);

// Whether its records are conversations: messages, sharegpt.
bool is_chat_format(const std::string& format);

// What the record says. Throws FormatError with its place for a column that is missing or no text.
std::string text_of(const DataFile& file, const Record& record);
QaRecord qa_of(const DataFile& file, const Record& record);

// The prompt and response of a record of an instruction format. `alpaca` template: question and
// prompt stand as instruction, answer and completion as output. `plain`: question and answer as in
// qa_prompt, prompt and completion verbatim, an instruction (and its input) followed by a blank
// line.
PromptResponse prompt_response_of(const DataFile& file, const Record& record,
                                  const std::string& format, const std::string& template_name);

}  // namespace corda::data
