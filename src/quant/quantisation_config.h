// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What `quantization_config` of a config.json promises.
#pragma once

#include <string>

#include "core/json.h"

namespace corda::quant {

// Why weights that are quantised so are not read; "" where they are.
std::string why_not_read(const core::Json& quantization_config);

}  // namespace corda::quant
