// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Tables of Arrow's kinds: Parquet, and Arrow's own files and streams (Feather).
#pragma once

#include <filesystem>
#include <memory>

#include "data/record_reader.h"

namespace corda::data {

// Rows as records, their number standing for the line. Nulls are null; what is bytes (images,
// sound), also within structs and lists, is left out. Read a part at a time: a file's row groups
// are never held whole. Throws IoError or FormatError (a damaged file), and FormatError where the
// program was built without Arrow.
std::unique_ptr<RecordReader> open_table(const std::filesystem::path& path);

// Whether the program can read such files at all.
bool reads_tables();

}  // namespace corda::data
