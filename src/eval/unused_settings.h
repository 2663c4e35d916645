// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#pragma once

#include "corda/eval/chat.h"
#include "corda/eval/eval.h"

namespace corda::eval {

// Throws ConfigError where a setting was given at which the task does not look.
void refuse_unused_settings(const EvalSettings& settings);
// The same of answers that are not drawn, for records with temperatures of their own are.
void refuse_drawing(const EvalSettings& settings);
// The same of perplexity once it is known what the data are: windows of plain text, or records.
void refuse_unused_settings(const EvalSettings& settings, bool plain_text);
// The same of answers to prompts, which go through a chat template where one is named, and of a
// conversation, which always does.
void refuse_unused_settings(const ChatSettings& settings, bool converses);

}  // namespace corda::eval
