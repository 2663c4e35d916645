// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// JSON as the values of a template.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "corda/jinja/value.h"
#include "core/json.h"

namespace corda::jinja {

// Every text in it, keys too, is labelled `source` where one is given. Throws FormatError where it
// nests too deeply or holds an integer beyond 63 bits.
Value from_json(const core::Json& json, std::optional<std::int32_t> source = std::nullopt);

// A text labelled as a whole.
Value labelled_text(std::string text, std::int32_t source);

}  // namespace corda::jinja
