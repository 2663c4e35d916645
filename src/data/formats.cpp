// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/formats.h"

#include <algorithm>
#include <array>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/data/load.h"
#include "corda/data/names.h"
#include "data/record_fields.h"
#include "data/text_reader.h"

namespace corda::data {

namespace {

using core::Json;

struct Format {
  const char* name;
  std::vector<std::string> required;  // "answer|answers": one of the two
  std::vector<std::string> optional;
};

// The formats in the order in which detection tries them.
const std::array<Format, 6>& formats() {
  static const std::array<Format, 6> kFormats = {
      {{"messages", {"messages"}, {"prompt", "completion", "tools", "functions", "system"}},
       {"sharegpt", {"conversations"}, {"tools", "functions", "system"}},
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

bool mapped_fields_known(const DataFile& file, const Format& format) {
  const auto fields = fields_of(format);
  return std::all_of(file.columns.begin(), file.columns.end(), [&](const auto& entry) {
    return std::find(fields.begin(), fields.end(), entry.first) != fields.end();
  });
}

// Whether every column that the format needs is there and one of them, at least, is not null:
// tables that were joined have each other's columns, all null.
bool fits(const DataFile& file, const Record& record, const Format& format, bool nulls_count) {
  if (!mapped_fields_known(file, format)) return false;
  bool says_something = nulls_count;
  for (const std::string& required : format.required) {
    bool found = false;
    for (const auto& field : core::split(required, '|')) {
      const Json* value = find_field(file, record, field);
      found = found || value != nullptr;
      says_something = says_something || (value != nullptr && !value->is_null());
    }
    if (!found) return false;
  }
  return says_something;
}

// Whether prompt and completion are lists of messages, as TRL has them.
bool holds_turn_lists(const DataFile& file, const Record& record) {
  const Json* prompt = find_value(file, record, "prompt");
  const Json* completion = find_value(file, record, "completion");
  return prompt != nullptr && prompt->is_array() && completion != nullptr && completion->is_array();
}

bool is_message(const Json& item) {
  return item.is_object() && (item.contains("role") || item.contains("from"));
}

// What to do about columns that no format knows.
std::string advice_for(const Record& record) {
  const Json& columns = record.value;
  if (columns.contains("chosen") && columns.contains("rejected")) {
    const bool turns = columns.at("chosen").is_array() && !columns.contains("prompt");
    return core::concat("these are preferences, which are not trained on; to learn the chosen ",
                        "answers alone, give --columns ",
                        turns ? "messages=chosen" : "completion=chosen");
  }
  for (const auto& [name, value] : columns.items()) {
    if (!value.is_array() || value.empty()) continue;
    if (is_message(value.front()))
      return core::concat("the column '", name,
                          "' holds messages: name it with --columns messages=", name);
    if (value.front().is_object() && value.front().size() > 1) {
      return core::concat("if '", name, "' is the list of records, write that list alone into the ",
                          "file");
    }
  }
  return "name the columns with --columns FIELD=COLUMN,... (and --format)";
}

// Fields of which one record may have either; a mapped one is meant instead of its sibling.
bool is_overruled(const DataFile& file, const std::string& field) {
  if (field != "answer" && field != "answers") return false;
  const std::string sibling = field == "answer" ? "answers" : "answer";
  return !file.columns.contains(field) && file.columns.contains(sibling);
}

// Columns that say something no format here can take from them.
constexpr std::array kMeaningful = {"tools",  "functions", "system", "system_prompt", "history",
                                    "chosen", "rejected",  "label",  "images",        "image",
                                    "audio",  "audios",    "videos"};

bool is_blank(const Json& value) {
  return value.is_null() || (value.is_structured() && value.empty()) ||
         (value.is_string() && core::trim(value.get_ref<const std::string&>()).empty());
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
  const bool open = file.format == "auto";
  if ((open || file.format == "prompt-completion") && holds_turn_lists(file, record) &&
      find_value(file, record, "messages") == nullptr)
    return "messages";
  if (!open) return file.format;
  for (const bool nulls_count : {false, true}) {
    for (const auto& format : formats()) {
      if (fits(file, record, format, nulls_count)) return format.name;
    }
  }
  std::vector<std::string> needs;
  for (const auto& format : formats()) {
    needs.push_back(core::concat(format.name, " (", core::join(format.required, ", "), ")"));
  }
  fail(file, record,
       core::concat("no format fits this record; the columns found are: ", columns_found(record),
                    "; the formats are ", core::join(needs, ", "), "; ", advice_for(record)));
}

ColumnNotes column_notes(const DataFile& file, const Record& record, const std::string& format) {
  ColumnNotes notes;
  const auto known = std::find_if(formats().begin(), formats().end(),
                                  [&](const Format& each) { return format == each.name; });
  std::vector<std::string> read;
  for (const auto& field : fields_of(*known)) {
    const bool other_way = format == "messages" && (field == "prompt" || field == "completion") &&
                           find_value(file, record, "messages") != nullptr;
    if (is_overruled(file, field) || other_way) continue;
    const std::string column = column_of(file, field);
    read.push_back(record.value.contains(column) ? column : core::split(column, '.').front());
    if (file.columns.contains(field) && find_field(file, record, field) == nullptr) {
      notes.warnings.push_back(
          located(file.path.string(), record.line, record.column,
                  core::concat("there is no column '", column, "', which --columns names for '",
                               field, "'; the columns found are: ", columns_found(record))));
    }
  }
  if (is_chat_format(format) && find_value(file, record, "functions") != nullptr)
    notes.remarks.push_back(
        core::concat("the column '", column_of(file, "functions"), "' is read as tools"));
  for (const auto& [name, value] : record.value.items()) {
    if (std::find(read.begin(), read.end(), name) != read.end()) continue;
    notes.unread.push_back(name);
    if (std::find(kMeaningful.begin(), kMeaningful.end(), name) == kMeaningful.end() ||
        is_blank(value) || (name == "label" && !value.is_boolean()))
      continue;
    notes.warnings.push_back(located(
        file.path.string(), record.line, record.column,
        core::concat("the column '", name, "' is not read in the format '", format, "'",
                     name == "label" ? ": what is labelled false is learnt like the rest" : "")));
  }
  return notes;
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
    const Json* value = is_overruled(file, field) ? nullptr : find_value(file, record, field);
    if (value == nullptr) continue;
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
  const Request request = request_of(file, record);
  const std::string output = required_text(file, record, format, "output");
  if (alpaca) return {alpaca_prompt(request.instruction, request.input), " " + output};
  return {joined(request) + "\n\n", output};
}

Request request_of(const DataFile& file, const Record& record) {
  Request request{.instruction = required_text(file, record, "alpaca", "instruction"),
                  .input = optional_text(file, record, "input")};
  if (core::trim(request.instruction).empty() && !request.input.empty())
    request = {.instruction = std::move(request.input), .input = {}};
  return request;
}

std::string joined(const Request& request) {
  return core::concat(request.instruction, request.input.empty() ? "" : "\n\n", request.input);
}

}  // namespace corda::data
