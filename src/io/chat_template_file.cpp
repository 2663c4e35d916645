// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/io/chat_template_file.h"

#include "corda/core/error.h"
#include "core/json.h"

namespace corda::io {

void write_chat_template(const core::fs::path& model_directory, const std::string& chat_template) {
  const auto config = model_directory / "tokenizer_config.json";
  const auto file = model_directory / "chat_template.jinja";
  const bool has_config = core::fs::exists(config);
  if (has_config) {
    core::Json json = core::read_json(config);
    if (!json.is_object())
      throw core::FormatError(core::concat(config.string(), ": expected an object"));
    json["chat_template"] = chat_template;
    core::write_json(config, json);
  }
  if (!has_config || core::fs::exists(file)) core::write_file_atomic(file, chat_template);
}

}  // namespace corda::io
