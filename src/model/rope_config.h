// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Rotary parameters of a config.json, in all the spellings that they have had.
#pragma once

#include "model/families.h"

namespace corda::model {

// Fills in `rotaries` and every block's `rotary`; `windowed` says which blocks are sliding layers.
// Sizes of the attention must be known. Problems go to the reader.
void read_rotaries(ConfigReader& reader, const FamilyRow& row, const std::vector<bool>& windowed,
                   ModelDescription& model);

}  // namespace corda::model
