// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Keys of a config.json that a family does not read: harmless, worth a note, or another model's.
#pragma once

#include <string>
#include <vector>

#include "model/config_reader.h"
#include "model/families.h"

namespace corda::model {

// Of the keys that were not read: a problem for each that changes the mathematics of some model and
// does not have the value that changes nothing; one note about those that nobody knows.
void check_other_keys(ConfigReader& reader, const FamilyRow& row, std::vector<std::string>& notes);

// A problem where the weights are said to be quantised.
void refuse_quantisation(ConfigReader& reader);

}  // namespace corda::model
