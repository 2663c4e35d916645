// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The tokenised data of a run.
#pragma once

#include "corda/core/reporter.h"
#include "corda/data/load.h"
#include "corda/data/mixture.h"
#include "corda/dist/world.h"
#include "corda/train/settings.h"

namespace corda::train {

struct RunData {
  data::Dataset train;       // of training_files
  data::EpochMixture epoch;  // what is drawn of it
  data::Dataset eval;        // empty where the settings name none
};

// What a run may write beside its samples.
enum class DataCache {
  kAsSet,
  kNotInRun  // nothing into the run directory, which may not be there
};

// How the settings have samples made; without a cache.
data::EncodeSettings encode_settings_of(const TrainSettings& settings);

// The first rank of a machine tokenises into the cache, if there is one, and the others read it.
// Throws as data::load_samples and tokenizer::load_tokenizer, and ConfigError for a token that the
// model has no row for.
RunData load_data(const TrainSettings& settings, DataCache cache, core::Reporter& reporter,
                  dist::World& world);

}  // namespace corda::train
