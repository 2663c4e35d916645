// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What the geometry of a model allows.
#pragma once

#include <cstdint>

#include "corda/model/description.h"

namespace corda::model {

// The largest rank that adapters of all layers of the blocks can have: the smaller side of the
// narrowest one.
std::int64_t largest_rank(const ModelDescription& model);

}  // namespace corda::model
