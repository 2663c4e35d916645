// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Keys of a config.json that a family does not read: harmless, worth a note, or another model's.
#pragma once

#include <string>
#include <vector>

#include "model/config_reader.h"
#include "model/families.h"

namespace corda::model {

// Looks at the keys that were not read. One that changes the mathematics of some model, and does
// not have the value that changes nothing, becomes a problem; those that nobody knows together
// become one note.
void check_other_keys(ConfigReader& reader, const FamilyRow& row, std::vector<std::string>& notes);

// Adds a problem where the file says that the weights are quantised.
void refuse_quantisation(ConfigReader& reader);

}  // namespace corda::model
