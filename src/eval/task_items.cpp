// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/task_items.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/data/load.h"
#include "corda/jinja/template.h"
#include "data/record_fields.h"
#include "data/record_stream.h"
#include "eval/python_random.h"
#include "eval/python_text.h"
#include "eval/task_text.h"
#include "jinja/json_value.h"

namespace corda::eval {

using core::concat;
using core::Json;

namespace {

constexpr std::uint32_t kShotSeed = 1234;  // the harness's

std::vector<TaskRecord> read_questions(const data::DataFile& file, bool skip_bad,
                                       core::Reporter& reporter) {
  std::vector<TaskRecord> records;
  for (auto& record : data::load_qa(file, skip_bad, reporter)) {
    records.push_back({.value = {{"question", record.question}, {"answers", record.answers}},
                       .place = concat(file.path.string(), ", question ", records.size() + 1)});
  }
  return records;
}

// The task's columns of a record under the task's names.
TaskRecord task_record(const Task& task, const data::DataFile& file, data::Record record) {
  TaskRecord made{.value = std::move(record.value),
                  .place = concat(file.path.string(), ":", record.line, ":", record.column)};
  if (!made.value.is_object()) throw core::FormatError(made.place + ": expected a JSON object");
  data::Record found{.value = made.value, .line = record.line, .column = record.column};
  for (const auto& [field, column] : file.columns) {
    if (const Json* value = data::find_field(file, found, field)) made.value[field] = *value;
  }
  for (const std::string& column : task.columns) {
    if (made.value.contains(column)) {
      if (!made.value.at(column).is_null()) continue;
      data::fail(file, found,
                 concat("the column '", column, "' is null, and the task ", task.name,
                        " needs its value"));
    }
    data::fail(file, found,
               concat("the task ", task.name, " needs the column '", column,
                      "'; the columns found are: ", data::columns_found(found),
                      "; name the right one with --columns ", column, "=COLUMN"));
  }
  if (!task.group.empty() && !made.value.at(task.group).is_string())
    data::fail(file, found, concat("the column '", task.group, "' is no text"));
  return made;
}

// A task's texts, parsed once.
class Texts {
 public:
  Texts(const Task& task, const HarnessVersion& harness)
      : task_(task),
        prompt_(parsed(task.prompt)),
        choices_(parsed(task.choices)),
        target_(parsed(task.target)),
        continuation_(parsed(task.continuation)),
        description_(parsed(task.description)),
        trims_description_(harness.trims_description) {}

  // The record without examples.
  Item item_of(const TaskRecord& record) const {
    try {
      return read(record);
    } catch (const core::FormatError& error) {
      throw core::FormatError(
          concat(record.place, ": the task ", task_.name, " cannot read it: ", error.what()));
    }
  }

  std::string description_of(const TaskRecord& record) const {
    std::string text = written(description_, jinja::from_json(record.value));
    if (trims_description_ && text.ends_with('\n')) text.pop_back();
    return text;
  }

  // The record with its right answer.
  std::string shot_of(const TaskRecord& record) const {
    const Item item = item_of(record);
    std::string answer;
    if (task_.kind == TaskKind::kAnswers) {
      answer = item.references.front();
    } else if (item.contexts.size() > 1) {
      answer = item.continuations.front().substr(1);
    } else {
      answer = item.choices[static_cast<std::size_t>(item.right.front())];
    }
    const std::size_t shown =
        item.contexts.size() > 1 ? static_cast<std::size_t>(item.right.front()) : 0;
    return concat(item.contexts[shown], " ", answer, task_.shot_separator);
  }

 private:
  // A template takes one line break from its source's end.
  static std::optional<jinja::Template> parsed(const std::string& source) {
    return source.empty() ? std::nullopt : std::optional(jinja::Template(source + "\n", "task"));
  }
  static std::string written(const std::optional<jinja::Template>& text,
                             const jinja::Value& columns) {
    return text ? text->render(columns).text : std::string();
  }
  std::string clean(std::string text) const {
    return task_.clean == nullptr ? std::move(text) : task_.clean(text);
  }

  std::vector<std::string> list_of(const std::optional<jinja::Template>& text,
                                   const jinja::Value& columns, const char* what) const {
    const Json list = core::parse_json(written(text, columns), what);
    const auto is_text = [](const Json& entry) { return entry.is_string(); };
    if (!list.is_array() || list.empty() || !std::all_of(list.begin(), list.end(), is_text))
      throw core::FormatError(concat(what, " are not a list of texts, of one at least"));
    return list.get<std::vector<std::string>>();
  }

  Item read(const TaskRecord& record) const {
    const jinja::Value columns = jinja::from_json(record.value);
    Item item{.contexts = {clean(written(prompt_, columns))}};
    if (!task_.group.empty()) item.group = record.value.at(task_.group).get<std::string>();
    if (task_.kind == TaskKind::kAnswers) item.references = list_of(target_, columns, "answers");
    if (task_.kind == TaskKind::kPages) {
      const std::string page = written(prompt_, columns);
      item.words = count_words(page);
      item.bytes = static_cast<std::int64_t>(page.size());
    }
    if (task_.kind == TaskKind::kChoices) read_choices(columns, item);
    return item;
  }

  void read_choices(const jinja::Value& columns, Item& item) const {
    item.choices = list_of(choices_, columns, "choices");
    if (task_.narrow != nullptr) item.choices = task_.narrow(std::move(item.choices));
    for (std::string& choice : item.choices) choice = clean(std::move(choice));
    const auto count = static_cast<std::int64_t>(item.choices.size());
    if (task_.all_right) {
      for (std::int64_t i = 0; i < count; ++i) item.right.push_back(i);
    } else {
      const std::string number = written(target_, columns);
      item.right.push_back(core::parse_int(number).value_or(-1));
      if (item.right.front() < 0 || item.right.front() >= count) {
        throw core::FormatError(
            concat("the right choice is one of 0 to ", count - 1, ", not '", number, "'"));
      }
    }
    if (continuation_) {
      item.contexts = item.choices;
      item.continuations.assign(item.choices.size(), " " + written(continuation_, columns));
    } else {
      for (const std::string& choice : item.choices) item.continuations.push_back(" " + choice);
    }
  }

  const Task& task_;
  std::optional<jinja::Template> prompt_, choices_, target_, continuation_, description_;
  bool trims_description_;
};

// Chooses the examples of one record after the other.
class Shots {
 public:
  Shots(const Task& task, const std::vector<TaskRecord>& pool, std::int64_t count)
      : task_(task), pool_(pool), count_(static_cast<std::size_t>(count)) {
    if (count > 0 && task.draw == ShotDraw::kNone)
      throw core::ConfigError(concat("the task ", task.name, " is asked without examples; --shots ",
                                     count, " cannot be given"));
    if (task.group.empty() || task.draw != ShotDraw::kFirstOfGroup) return;
    for (std::size_t i = 0; i < pool.size(); ++i)
      groups_[pool[i].value.at(task.group).get<std::string>()].push_back(i);
  }

  std::vector<std::size_t> of(const TaskRecord& record) {
    if (count_ == 0) return {};
    if (task_.draw == ShotDraw::kFirstOfGroup) return first_of(record);
    if (task_.draw == ShotDraw::kAny) return drawn(pool_.size(), count_);
    std::vector<std::size_t> chosen;
    for (const std::size_t i : drawn(pool_.size(), count_ + 1)) {
      if (pool_[i].value != record.value) chosen.push_back(i);
    }
    if (chosen.size() >= count_) {
      chosen.resize(count_);
      return chosen;
    }
    std::vector<std::size_t> others;
    for (std::size_t i = 0; i < pool_.size(); ++i) {
      if (pool_[i].value != record.value) others.push_back(i);
    }
    chosen = drawn(others.size(), count_);
    for (std::size_t& i : chosen) i = others[i];
    return chosen;
  }

 private:
  std::vector<std::size_t> drawn(std::size_t size, std::size_t count) {
    check(size, count, "the files of --shots-data");
    return random_.sample(size, count);
  }

  std::vector<std::size_t> first_of(const TaskRecord& record) {
    const std::string group = record.value.at(task_.group).get<std::string>();
    std::vector<std::size_t> chosen = groups_[group];
    check(chosen.size(), count_, concat(task_.group, " '", group, "' of --shots-data"));
    chosen.resize(count_);
    return chosen;
  }

  static void check(std::size_t size, std::size_t count, const std::string& what) {
    if (size >= count) return;
    throw core::ConfigError(concat(what, " must hold at least ", count,
                                   " records for the examples to be drawn from; there are ", size));
  }

  const Task& task_;
  const std::vector<TaskRecord>& pool_;
  std::size_t count_;
  std::map<std::string, std::vector<std::size_t>> groups_;
  PythonRandom random_{kShotSeed};
};

}  // namespace

std::vector<TaskRecord> read_task_records(const Task& task, const data::DataFile& file,
                                          bool skip_bad, core::Reporter& reporter) {
  if (task.name == "qa") return read_questions(file, skip_bad, reporter);
  const bool plain = task.kind == TaskKind::kPages &&
                     data::container_of(file.path, "auto") == data::Container::kText;
  const std::string name = file.path.string();
  std::int64_t bad = 0;
  const auto skip = [&](const core::FormatError& error) {
    if (bad++ < 10) reporter.warn(concat("skipped: ", error.what()));
  };
  data::RecordStream stream({.path = file.path, .format = plain ? "text" : "qa"},
                            skip_bad ? data::BadRecord(skip) : data::BadRecord());
  std::vector<TaskRecord> records;
  while (auto raw = stream.next_raw()) {
    if (plain) {
      for (std::string& page : wikitext_pages(raw->text))
        records.push_back({.value = {{"page", std::move(page)}}, .place = name});
      continue;
    }
    try {
      records.push_back(task_record(task, file, data::parse_record(std::move(*raw), name)));
    } catch (const core::FormatError& error) {
      if (!skip_bad) throw data::with_skip_advice(error);
      skip(error);
    }
  }
  if (bad > 0) reporter.warn(concat(bad, " bad records were skipped"));
  return records;
}

std::vector<Item> make_items(const Task& task, const HarnessVersion& harness,
                             const std::vector<TaskRecord>& records,
                             const std::vector<TaskRecord>& pool, std::int64_t shots) {
  const Texts texts(task, harness);
  Shots draw(task, pool, shots);
  std::map<std::size_t, std::string> shown;  // examples come again and again
  std::vector<Item> items;
  for (const TaskRecord& record : records) {
    Item item = texts.item_of(record);
    item.number = static_cast<std::int64_t>(items.size());
    item.place = record.place;
    std::string front = texts.description_of(record);
    for (const std::size_t i : draw.of(record)) {
      auto found = shown.find(i);
      if (found == shown.end()) found = shown.emplace(i, texts.shot_of(pool[i])).first;
      front += found->second;
    }
    for (std::string& context : item.contexts) context.insert(0, front);
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace corda::eval
