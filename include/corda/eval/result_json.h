// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What `corda eval --json` prints.
#pragma once

#include <string>

#include "corda/eval/eval.h"

namespace corda::eval {

// One JSON object on one line: `task`, `score`, `score_name`, and what else was measured.
std::string result_json(const EvalResult& result);

}  // namespace corda::eval
