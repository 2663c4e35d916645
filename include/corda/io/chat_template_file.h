// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Puts a chat template into a model directory.
#pragma once

#include <string>

#include "corda/core/file.h"

namespace corda::io {

// Where tokenizer_config.json is there, its `chat_template` becomes `chat_template` (its other keys
// and their order stay); chat_template.jinja, which other programs read first, is replaced where it
// exists, and written where there is no tokenizer_config.json. Throws FormatError for a
// tokenizer_config.json that is no object.
void write_chat_template(const core::fs::path& model_directory, const std::string& chat_template);

}  // namespace corda::io
