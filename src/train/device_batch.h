// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// From a packed batch on the host to one on the model's device.
#pragma once

#include "corda/data/batch.h"
#include "corda/model/batch.h"
#include "corda/model/model.h"

namespace corda::train {

model::Batch to_device(const data::PackedBatch& packed, const model::Model& model);

}  // namespace corda::train
