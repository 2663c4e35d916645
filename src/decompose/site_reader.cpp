// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "decompose/site_reader.h"

#include <ATen/ATen.h>

#include "corda/linalg/accumulate.h"

namespace corda::decompose {

namespace {

linalg::HostRows rows_of(const io::CovarianceReader& reader, const std::string& site) {
  const std::int64_t n = reader.manifest().sites.at(site).in_features;
  return {.shape = {n, n},
          .type = at::kFloat,
          .fill = [rows = reader.lower_rows(site)](std::int64_t begin, std::int64_t end,
                                                   std::byte* to) {
            rows(begin, end, reinterpret_cast<float*>(to));
          }};
}

}  // namespace

std::vector<const io::CovarianceReader*> Covariances::all() const {
  std::vector<const io::CovarianceReader*> result;
  for (const auto& reader : knowledge) result.push_back(&reader);
  for (const auto& reader : task) result.push_back(&reader);
  return result;
}

std::int64_t Covariances::tokens(const std::deque<io::CovarianceReader>& of,
                                 const std::string& site) {
  std::int64_t sum = 0;
  for (const auto& reader : of) sum += reader.manifest().sites.at(site).tokens;
  return sum;
}

linalg::Uploader::Upload SiteReader::start(const PlannedSite& site) {
  std::vector<linalg::HostRows> rows;
  if (!site.name.empty()) {
    for (const auto* reader : covariances_.all()) rows.push_back(rows_of(*reader, site.name));
  }
  if (with_weights_) {
    for (const auto& layer : site.layers) rows.push_back(model_.rows(layer.module + ".weight"));
  }
  return uploader_.start(std::move(rows));
}

SiteReader::Loaded SiteReader::take(const PlannedSite& site, const PlannedSite* next) {
  linalg::Uploader::Upload upload =
      ahead_ && ahead_site_ == &site ? std::move(*ahead_) : start(site);
  ahead_.reset();
  std::vector<at::Tensor> tensors = upload.wait();
  if (next != nullptr) {
    ahead_ = start(*next);
    ahead_site_ = next;
  }
  Loaded loaded;
  std::size_t used = 0;
  const auto covariances = [&](std::size_t count) {
    std::vector<at::Tensor> result;
    for (std::size_t i = 0; i < count; ++i, ++used)
      linalg::mirror_lower(result.emplace_back(tensors[used]));
    return result;
  };
  if (!site.name.empty()) {
    loaded.input.knowledge = covariances(covariances_.knowledge.size());
    loaded.input.task = covariances(covariances_.task.size());
    loaded.input.tokens = Covariances::tokens(covariances_.knowledge, site.name);
  }
  if (with_weights_) {
    for (const auto& layer : site.layers) {
      loaded.weights[layer.module] = tensors[used++];
      if (loaded.weights[layer.module].is_cpu()) model_.forget(layer.module + ".weight");
    }
  }
  return loaded;
}

}  // namespace corda::decompose
