// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Where ranks hold parts of the model they make equally many passes: what the others fill up with.
#pragma once

#include <cstdint>
#include <vector>

#include "corda/data/batch.h"
#include "corda/data/sample.h"
#include "corda/train/settings.h"

namespace corda::train {

// The micro-batches with a target that the rank with the most has of a step's samples.
std::int64_t most_passes(const std::vector<data::Sample>& samples, const TrainSettings& settings,
                         int ranks);

// The shortest sample with a target, which has the least to compute.
data::PackedBatch filler_of(const std::vector<data::Sample>& samples);

}  // namespace corda::train
