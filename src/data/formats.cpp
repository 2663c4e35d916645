// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/formats.h"

#include <algorithm>
#include <array>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/data/load.h"
#include "corda/data/names.h"
#include "data/record_fields.h"

namespace corda::data {

namespace {

using core::Json;

struct Format {
  const char* name;
  std::vector<std::string> required;  // "answer|answers": one of the two
  std::vector<std::string> optional;
};

// In the order in which they are tried by detection.
const std::array<Format, 6>& formats() {
  static const std::array<Format, 6> kFormats = {
      {{"messages", {"messages"}, {"tools", "system"}},
       {"sharegpt", {"conversations"}, {"tools", "system"}},
       {"alpaca", {"instruction", "output"}, {"input", "system", "history"}},
       {"prompt-completion", {"prompt", "completion"}, {}},
       {"qa", {"question", "answer|answers"}, {}},
       {"text", {"text"}, {}}}};
  return kFormats;
}

std::vector<std::string> fields_of(const Format& format) {
  std::vector<std::string> fields = format.optional;
  for (const auto& required : format.required) {
    for (auto& field : core::split(required, '|')) fields.push_back(std::move(field));
  }
  return fields;
}

bool fits(const DataFile& file, const Record& record, const Format& format) {
  const auto fields = fields_of(format);
  const bool mapped_fields_known =
      std::all_of(file.columns.begin(), file.columns.end(), [&](const auto& entry) {
        return std::find(fields.begin(), fields.end(), entry.first) != fields.end();
      });
  return mapped_fields_known &&
         std::all_of(
             format.required.begin(), format.required.end(), [&](const std::string& required) {
               const auto choices = core::split(required, '|');
               return std::any_of(choices.begin(), choices.end(), [&](const std::string& field) {
                 return find_field(file, record, field) != nullptr;
               });
             });
}

}  // namespace

std::vector<std::string> format_names() {
  std::vector<std::string> names = {"auto"};
  for (const auto& format : formats()) names.emplace_back(format.name);
  return names;
}

void check_format(const DataFile& file) {
  const std::vector<std::string> names = format_names();
  if (std::find(names.begin(), names.end(), file.format) == names.end()) {
    throw core::ConfigError(core::concat("unknown data format '", file.format, "'",
                                         core::suggestion(file.format, names), "; the formats are ",
                                         core::join(names, ", ")));
  }
  std::vector<std::string> fields;
  for (const auto& format : formats()) {
    if (file.format != "auto" && file.format != format.name) continue;
    for (auto& field : fields_of(format)) fields.push_back(std::move(field));
  }
  for (const auto& [field, column] : file.columns) {
    if (std::find(fields.begin(), fields.end(), field) == fields.end()) {
      throw core::ConfigError(core::concat("the column mapping '", field, "=", column,
                                           "' names a field that the format '", file.format,
                                           "' does not have", core::suggestion(field, fields),
                                           "; its fields are ", core::join(fields, ", ")));
    }
  }
}

std::string detect_format(const DataFile& file, const Record& record) {
  for (const auto& format : formats()) {
    if (fits(file, record, format)) return format.name;
  }
  std::vector<std::string> needs;
  for (const auto& format : formats()) {
    needs.push_back(core::concat(format.name, " (", core::join(format.required, ", "), ")"));
  }
  fail(file, record,
       core::concat("no format fits this record; the columns found are: ", columns_found(record),
                    "; the formats are ", core::join(needs, ", "),
                    "; name the columns with --columns FIELD=COLUMN,... (and --format)"));
}

bool is_chat_format(const std::string& format) {
  return format == "messages" || format == "sharegpt";
}

std::string text_of(const DataFile& file, const Record& record) {
  return required_text(file, record, "text", "text");
}

QaRecord qa_of(const DataFile& file, const Record& record) {
  QaRecord qa{.question = required_text(file, record, "qa", "question"), .answers = {}};
  bool found = false;
  for (const char* field : {"answer", "answers"}) {
    const Json* value = find_field(file, record, field);
    if (value == nullptr || value->is_null()) continue;
    found = true;
    const Json list = value->is_array() ? *value : Json::array({*value});
    for (const auto& item : list) {
      std::string answer = string_of(file, record, field, item);
      if (std::find(qa.answers.begin(), qa.answers.end(), answer) == qa.answers.end()) {
        qa.answers.push_back(std::move(answer));
      }
    }
  }
  if (!found)
    fail_missing(file, record, "qa", file.columns.contains("answers") ? "answers" : "answer");
  if (qa.answers.empty()) fail(file, record, "the question has no answer");
  return qa;
}

PromptResponse prompt_response_of(const DataFile& file, const Record& record,
                                  const std::string& format, const std::string& template_name) {
  const bool alpaca = template_name == "alpaca";
  if (format == "qa") {
    const QaRecord qa = qa_of(file, record);
    return {alpaca ? alpaca_prompt(qa.question, "") : qa_prompt(qa.question),
            " " + qa.answers.front()};
  }
  if (format == "prompt-completion") {
    const std::string prompt = required_text(file, record, format, "prompt");
    const std::string completion = required_text(file, record, format, "completion");
    if (alpaca) return {alpaca_prompt(prompt, ""), " " + completion};
    return {prompt, completion};
  }
  if (format != "alpaca")
    throw core::InternalError("[data::prompt_response_of] not an instruction format: " + format);
  const std::string instruction = required_text(file, record, format, "instruction");
  const std::string input = optional_text(file, record, "input");
  const std::string output = required_text(file, record, format, "output");
  if (alpaca) return {alpaca_prompt(instruction, input), " " + output};
  return {core::concat(instruction, input.empty() ? "" : "\n\n", input, "\n\n"), output};
}

}  // namespace corda::data
