// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "study/input_statistics.h"

#include <ATen/ATen.h>

#include "corda/model/attention.h"
#include "corda/model/forward.h"
#include "corda/model/sites.h"
#include "covariance/accumulator.h"

namespace corda::study {

namespace {

struct Sums {
  covariance::CovarianceAccumulator covariance;
  at::Tensor magnitudes;  // [in] fp64
  std::int64_t tokens = 0;
};

}  // namespace

std::map<std::string, InputStatistics> statistics_of(const model::Model& model,
                                                     const covariance::Draw& draw,
                                                     bool scale_by_maximum, bool with_head,
                                                     core::Reporter& reporter) {
  const at::NoGradGuard no_grad;
  std::map<std::string, Sums> sums;
  const auto begin_site = [&](const std::string& name, std::int64_t size) {
    sums.emplace(name,
                 Sums{.covariance = {size, scale_by_maximum, model.device()},
                      .magnitudes = at::zeros({size}, at::TensorOptions().dtype(at::kDouble))});
  };
  for (const model::Site& site : model::sites_of(model.config))
    begin_site(site.name, site.in_features);
  if (with_head) begin_site(kHeadSite, model.config.hidden_size);
  const std::vector<std::int32_t>* offsets = nullptr;
  const auto observe = [&](const std::string& name, const at::Tensor& input) {
    Sums& site = sums.at(name);
    site.covariance.add(input, *offsets);
    site.magnitudes += input.abs().sum(0, /*keepdim=*/false, at::kFloat).to(at::kDouble).cpu();
    site.tokens += input.size(0);
  };
  reporter.begin("calibrate", draw.samples, "sample");
  for (const data::PackedBatch& packed : draw.batches) {
    core::throw_if_stopped(reporter, "calibrating");
    offsets = &packed.cu_seqlens;
    const model::Batch batch = model::make_batch(packed.ids, packed.positions, packed.cu_seqlens,
                                                 model.config.vocab_size, model.device());
    model::PackedAttention attention(batch);
    const at::Tensor hidden = model::forward_hidden(model, batch, attention, observe);
    if (with_head) observe(kHeadSite, hidden);
    reporter.advance(packed.sequences(), "");
  }
  reporter.end();
  std::map<std::string, InputStatistics> statistics;
  for (auto& [name, site] : sums) {
    statistics[name] = {.covariance = site.covariance.finish(),
                        .mean_magnitude = site.magnitudes / static_cast<double>(site.tokens)};
  }
  return statistics;
}

}  // namespace corda::study
