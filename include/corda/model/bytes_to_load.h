// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#pragma once

#include <cstdint>

#include "corda/model/model.h"

namespace corda::model {

// What `load_model` will hold in the device's memory; with `block_loaded`, which may take parts of
// the blocks elsewhere, at the least. Reads no values. Errors as `load_model`.
std::int64_t bytes_to_load(const quant::ModelWeights& weights, const ModelDescription& config,
                           LoadOptions options);

}  // namespace corda::model
