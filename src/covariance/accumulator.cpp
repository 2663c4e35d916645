// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "covariance/accumulator.h"

#include <ATen/ATen.h>

#include <utility>

#include "corda/linalg/accumulate.h"

namespace corda::covariance {

CovarianceAccumulator::CovarianceAccumulator(std::int64_t in_features, bool scale_by_maximum,
                                             at::Device device)
    : scale_by_maximum_(scale_by_maximum) {
  const auto options = at::TensorOptions().device(device).dtype(at::kFloat);
  sum_ = at::zeros({in_features, in_features}, options);
  one_ = at::ones({1}, options);
}

void CovarianceAccumulator::add(const at::Tensor& x, const std::vector<std::int32_t>& offsets) {
  const at::NoGradGuard no_grad;
  samples_ += static_cast<std::int64_t>(offsets.size()) - 1;
  if (!scale_by_maximum_) {
    linalg::add_scaled_gram(sum_, x, one_);
    return;
  }
  const auto sample = [&](std::size_t i) { return x.slice(0, offsets[i], offsets[i + 1]); };
  // The scales stay on the device: reading one here would make the GPU wait for every sample. They
  // are made together, because a launch for each sample and step would show.
  std::vector<at::Tensor> maxima;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) maxima.push_back(sample(i).max());
  const at::Tensor scales = at::stack(maxima).to(at::kFloat).square().reciprocal();
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i)
    linalg::add_scaled_gram(sum_, sample(i), scales.narrow(0, static_cast<std::int64_t>(i), 1));
}

at::Tensor CovarianceAccumulator::finish(std::int64_t samples) {
  if (scale_by_maximum_) sum_.div_(static_cast<double>(samples));
  linalg::mirror_lower(sum_);
  return std::exchange(sum_, {});
}

}  // namespace corda::covariance
