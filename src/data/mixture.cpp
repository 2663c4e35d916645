// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/data/mixture.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "corda/core/error.h"

namespace corda::data {

namespace {

std::string source_of(const DataFile& file) {
  return file.source.empty() ? file.path.string() : file.source;
}

}  // namespace

void check_mixture(const std::vector<DataFile>& files) {
  std::map<std::string, double> weights;
  const auto weighted = [](const DataFile& file) { return file.weight > 0; };
  if (std::none_of(files.begin(), files.end(), weighted)) return;
  for (const DataFile& file : files) {
    if (!weighted(file)) {
      throw core::ConfigError(core::concat("'", file.path.string(), "' has no weight and others ",
                                           "do; give every training file one, or none"));
    }
    const auto [known, added] = weights.emplace(source_of(file), file.weight);
    if (!added && known->second != file.weight) {
      throw core::ConfigError(core::concat("files of the source '", source_of(file),
                                           "' have the weights ", known->second, " and ",
                                           file.weight, "; a source has one"));
    }
  }
}

std::vector<MixturePart> mixture_of(const std::vector<DataFile>& files,
                                    const std::vector<std::int64_t>& file_samples) {
  check_mixture(files);
  std::vector<MixturePart> parts;
  if (files.empty() || files.front().weight <= 0) return parts;
  if (files.size() != file_samples.size())
    throw core::InternalError("[data::mixture_of] the samples of every file must be counted");
  std::int64_t next = 0;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::string source = source_of(files[i]);
    auto part = std::find_if(parts.begin(), parts.end(),
                             [&](const MixturePart& known) { return known.source == source; });
    if (part == parts.end())
      part =
          parts.insert(parts.end(), {.source = source, .weight = files[i].weight, .samples = {}});
    for (std::int64_t n = 0; n < file_samples[i]; ++n) part->samples.push_back(next++);
  }
  for (const MixturePart& part : parts) {
    if (part.samples.empty()) {
      throw core::ConfigError(core::concat("'", part.source, "' has a weight but gave no sample"));
    }
  }
  return parts;
}

EpochMixture epoch_mixture(const std::vector<DataFile>& files,
                           const std::vector<std::int64_t>& file_samples, std::size_t replayed,
                           double share) {
  if (files.size() != file_samples.size() || replayed > files.size())
    throw core::InternalError("[data::epoch_mixture] the samples of every file must be counted");
  const auto own = static_cast<std::ptrdiff_t>(files.size() - replayed);
  EpochMixture epoch{.parts = mixture_of({files.begin(), files.begin() + own},
                                         {file_samples.begin(), file_samples.begin() + own}),
                     .samples = std::accumulate(file_samples.begin(), file_samples.begin() + own,
                                                std::int64_t{0})};
  const std::int64_t first = epoch.samples;
  const std::int64_t last = std::accumulate(file_samples.begin() + own, file_samples.end(), first);
  if (replayed == 0) return epoch;
  if (last == first) throw core::ConfigError("'data.replay': its files gave no sample");
  if (first == 0) throw core::ConfigError("the files of 'data.train' gave no sample");
  epoch.replayed =
      std::max<std::int64_t>(1, std::llround(static_cast<double>(first) * share / (1 - share)));
  epoch.samples += epoch.replayed;
  const auto indices = [](std::int64_t begin, std::int64_t end) {
    std::vector<std::int64_t> all(static_cast<std::size_t>(end - begin));
    std::iota(all.begin(), all.end(), begin);
    return all;
  };
  if (epoch.parts.empty())
    epoch.parts.push_back({.source = "training", .weight = 1, .samples = indices(0, first)});
  double weights = 0;
  for (const MixturePart& part : epoch.parts) weights += part.weight;
  for (MixturePart& part : epoch.parts) part.weight *= static_cast<double>(first) / weights;
  epoch.parts.push_back({.source = "replay",
                         .weight = static_cast<double>(epoch.replayed),
                         .samples = indices(first, last)});
  return epoch;
}

std::vector<std::int64_t> quotas_of(const std::vector<MixturePart>& parts, std::int64_t total) {
  double weights = 0;
  for (const MixturePart& part : parts) weights += part.weight;
  std::vector<std::int64_t> quotas;
  std::vector<double> remainders;
  for (const MixturePart& part : parts) {
    const double share = static_cast<double>(total) * part.weight / weights;
    quotas.push_back(static_cast<std::int64_t>(std::floor(share)));
    remainders.push_back(share - std::floor(share));
  }
  std::int64_t left = total - std::accumulate(quotas.begin(), quotas.end(), std::int64_t{0});
  for (; left > 0; --left) {
    const auto largest = std::max_element(remainders.begin(), remainders.end());
    ++quotas[static_cast<std::size_t>(largest - remainders.begin())];
    *largest = -1;
  }
  for (std::int64_t& quota : quotas) quota = std::max<std::int64_t>(quota, 1);
  return quotas;
}

}  // namespace corda::data
