// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The rows that scripts/golden/eval_tasks.py makes of the public files, made again.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"

namespace corda::testing {

// The rows of a task of tests/golden/eval. For mmlu these are the questions that are asked, or with
// `examples` those that are answered before them.
std::vector<core::Json> harness_rows(const std::filesystem::path& datasets, const std::string& task,
                                     bool examples = false);

}  // namespace corda::testing
