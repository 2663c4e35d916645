// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Reads data files and makes what a task asks of each record.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/data/sample.h"
#include "core/json.h"
#include "eval/task.h"

namespace corda::eval {

struct TaskRecord {
  core::Json value;   // an object that has the task's columns
  std::string place;  // "FILE:LINE:COLUMN"
};

// The records of a file, `file.columns` giving the task's names to its own. Throws FormatError for
// a bad record unless `skip_bad`.
std::vector<TaskRecord> read_task_records(const Task& task, const data::DataFile& file,
                                          bool skip_bad, core::Reporter& reporter);

// One question, choice or page.
struct Item {
  std::int64_t number = 0;  // of the record, from 0
  std::string place = {};   // of the record
  std::string group = {};
  std::vector<std::string> contexts = {};       // one, or one for each choice
  std::vector<std::string> continuations = {};  // of choices, as they follow the contexts
  std::vector<std::string> choices = {};        // as written in the record
  std::vector<std::int64_t> right = {};         // of the choices
  std::vector<std::string> references = {};     // of answers
  std::int64_t words = 0;                       // of pages, as the record has them
  std::int64_t bytes = 0;

  const std::string& context_of(std::size_t choice) const {
    return contexts[contexts.size() == 1 ? 0 : choice];
  }
};

// Each record as an item, in order, with `shots` examples of `pool` in front, drawn as the harness
// draws them. Throws FormatError with a record's place, ConfigError where the pool is too small.
std::vector<Item> make_items(const Task& task, const HarnessVersion& harness,
                             const std::vector<TaskRecord>& records,
                             const std::vector<TaskRecord>& pool, std::int64_t shots);

}  // namespace corda::eval
