// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// JSON as the values of a template.
#pragma once

#include "corda/jinja/value.h"
#include "core/json.h"

namespace corda::jinja {

// Throws FormatError where it nests too deeply or holds an integer beyond 63 bits.
Value from_json(const core::Json& json);

}  // namespace corda::jinja
