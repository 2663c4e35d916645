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
  tokens_ += x.size(0);
  samples_ += static_cast<std::int64_t>(offsets.size()) - 1;
  if (!scale_by_maximum_) {
    linalg::add_scaled_gram(sum_, x, one_);
    return;
  }
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
    const at::Tensor sample = x.slice(0, offsets[i], offsets[i + 1]);
    // The scale stays on the device: reading it here would make the GPU wait for every sample.
    linalg::add_scaled_gram(sum_, sample, sample.max().to(at::kFloat).square().reciprocal());
  }
}

at::Tensor CovarianceAccumulator::finish() {
  if (scale_by_maximum_) sum_.div_(static_cast<double>(samples_));
  linalg::mirror_lower(sum_);
  return std::exchange(sum_, {});
}

}  // namespace corda::covariance
