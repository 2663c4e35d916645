// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Tables as text: comma-separated values (RFC 4180), also with tabs, semicolons or bars.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "data/record_reader.h"
#include "data/text_reader.h"

namespace corda::data {

// Records whose columns the first line names. `separator` 0: the one of , ; tab | that the first
// line has most of. Every cell is text; one with nothing in it, not even quotes, is null. A cell of
// a column in `json_columns` that holds a JSON list is that list.
std::unique_ptr<RecordReader> open_csv(std::unique_ptr<TextReader> text, char separator,
                                       std::set<std::string> json_columns, ReadLimits limits);

}  // namespace corda::data
