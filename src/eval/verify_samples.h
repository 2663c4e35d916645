// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What a merged model is checked on.
#pragma once

#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/data/batch.h"
#include "corda/data/load.h"
#include "corda/eval/verify_merge.h"

namespace corda::eval {

// Files and how they become samples.
struct SampleSource {
  std::vector<data::DataFile> files;
  data::EncodeSettings encode;
};
// Those that the settings name.
SampleSource source_of(const VerifySettings& settings);

struct VerifySamples {
  data::PackedBatch batch;
  std::string what;  // "12 samples of 'train.jsonl'"
};

// The choice that `verify_merge` documents; ids are below `vocab_size` where they are random.
VerifySamples verify_samples(const VerifySettings& settings, std::int64_t vocab_size,
                             core::Reporter& reporter);

}  // namespace corda::eval
