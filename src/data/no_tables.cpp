// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What stands for arrow/table_reader.cpp where the build had no Arrow.
#include "corda/core/error.h"
#include "data/table_reader.h"

namespace corda::data {

std::unique_ptr<RecordReader> open_table(const std::filesystem::path& path) {
  throw core::FormatError(core::concat(
      path.string(), ": this corda was built without Arrow, which reads such tables; write the ",
      "data as JSONL or CSV, or build corda with Arrow (scripts/bootstrap.sh installs it)"));
}

bool reads_tables() { return false; }

}  // namespace corda::data
