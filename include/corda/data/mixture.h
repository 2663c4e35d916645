// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Several sources of samples in given proportions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "corda/data/sample.h"

namespace corda::data {

// The samples of one source's files, and its weight: their share of an epoch, in proportion to the
// other parts' weights.
struct MixturePart {
  std::string source;
  double weight = 0;
  std::vector<std::int64_t> samples;  // indices of the data set
};

// The sources of `files` by their weights; empty where no file has a weight. `file_samples` is how
// many samples each file gave, in order. Throws ConfigError as check_mixture, and for a source that
// gave no sample.
std::vector<MixturePart> mixture_of(const std::vector<DataFile>& files,
                                    const std::vector<std::int64_t>& file_samples);

// Throws ConfigError where some files have a weight and others none, or files of one source have
// different ones.
void check_mixture(const std::vector<DataFile>& files);

// What an epoch draws from a data set: of each part its quota of `samples`; without parts every
// sample once.
struct EpochMixture {
  std::vector<MixturePart> parts;
  std::int64_t samples = 0;
  std::int64_t replayed = 0;  // of them; they are the last part
};

// `files` and what they gave, the last `replayed` of them being replayed: they make up `share` of
// every epoch, to the nearest sample and at least one, as one part. What is left is an epoch of the
// other files: each of their samples once, or by their weights. Errors as `mixture_of`.
EpochMixture epoch_mixture(const std::vector<DataFile>& files,
                           const std::vector<std::int64_t>& file_samples, std::size_t replayed,
                           double share);

// How many of `total` samples each part gives to every epoch: at least one, and together `total` or
// as many as there are parts. The largest remainders are rounded up, the first of equal ones.
std::vector<std::int64_t> quotas_of(const std::vector<MixturePart>& parts, std::int64_t total);

}  // namespace corda::data
