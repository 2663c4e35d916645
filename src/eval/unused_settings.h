// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#pragma once

#include "corda/eval/chat.h"
#include "corda/eval/eval.h"

namespace corda::eval {

// Throws ConfigError where a setting was given at which the task does not look.
void refuse_unused_settings(const EvalSettings& settings);
// The same of answers to prompts.
void refuse_unused_settings(const ChatSettings& settings);

}  // namespace corda::eval
