// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A model's config.json: what changes the mathematics is understood or refused, the rest is noted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "corda/core/error.h"
#include "corda/core/reporter.h"
#include "corda/core/settings.h"
#include "corda/model/description.h"

namespace corda::model {

namespace fs = std::filesystem;

// A `model_type` that no family has.
class UnknownFamily : public core::FormatError {
 public:
  using core::FormatError::FormatError;
};

// Reads DIR/config.json as the family that its `model_type` names, or as `assume_family`, one of
// the `model_type`s there are. Absent keys mean what they mean in transformers. Throws FormatError
// that lists every key that is malformed or not implemented, by name and value, UnknownFamily that
// names the one that is not, and where the folder's tensors are those of another says which;
// ConfigError for an `assume_family` that is none; IoError without the file.
ModelDescription read_model_config(const fs::path& directory,
                                   const std::string& assume_family = "");

// The same from JSON text; `source` names it in errors.
ModelDescription parse_model_config(std::string_view json, const std::string& source,
                                    const std::string& assume_family = "");

// The setting of every verb that reads a model: the family to read it as.
void add_assume_family(core::SettingsList& list, std::string& assume_family);

// Warns where sequences of `length` tokens, named by `what`, are longer than the model's positions;
// `advice` ends the sentence.
void warn_beyond_positions(const ModelDescription& config, std::int64_t length,
                           std::string_view what, core::Reporter& reporter,
                           std::string_view advice = "");

// The tokens of a window of text: `asked`, or, where that is 0, 2048 or the model's positions where
// they are fewer, which is then said.
std::int64_t window_tokens(const ModelDescription& config, std::int64_t asked,
                           core::Reporter& reporter);

// "sha256:..." of DIR/config.json, which changes what a model computes though no weight changes.
std::string config_fingerprint(const fs::path& directory);

}  // namespace corda::model
