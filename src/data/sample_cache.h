// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The name under which tokenised data are kept, and their counts as notes.
#pragma once

#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/data/load.h"

namespace corda::data {

// SHA-256 over the content of the data files, how they are read, the tokenizer's files, and every
// setting that changes a sample. Equal keys mean equal samples.
std::string cache_key(const std::vector<DataFile>& files, const EncodeSettings& settings,
                      core::Reporter& reporter);

std::string to_notes(const Dataset& dataset);
// Throws FormatError for notes of another version, or damaged ones.
void read_notes(const std::string& notes, Dataset& dataset);

}  // namespace corda::data
