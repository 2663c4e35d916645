// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "calibrate/accumulator.h"

#include <ATen/ATen.h>

namespace corda::calibrate {

namespace {

// x^T x in fp32. The product of two 16-bit numbers is exact in fp32, so tensor cores lose nothing
// but the rounding of the sum; the CPU has no such product and converts first.
at::Tensor gram(const at::Tensor& x) {
  if (x.is_cuda() && x.scalar_type() != at::kFloat) return at::mm(x.t(), x, at::kFloat);
  const at::Tensor wide = x.to(at::kFloat);
  return at::mm(wide.t(), wide);
}

}  // namespace

CovarianceAccumulator::CovarianceAccumulator(std::int64_t in_features, bool scale_by_maximum,
                                             at::Device device)
    : sum_(at::zeros({in_features, in_features},
                     at::TensorOptions().device(device).dtype(at::kFloat))),
      scale_by_maximum_(scale_by_maximum) {}

void CovarianceAccumulator::add(const at::Tensor& x, const std::vector<std::int32_t>& offsets) {
  const at::NoGradGuard no_grad;
  tokens_ += x.size(0);
  samples_ += static_cast<std::int64_t>(offsets.size()) - 1;
  if (!scale_by_maximum_) {
    sum_ += gram(x);
    return;
  }
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
    const at::Tensor sample = x.slice(0, offsets[i], offsets[i + 1]);
    // The scale stays on the device: reading it here would make the GPU wait for every sample.
    sum_.addcmul_(gram(sample), sample.max().to(at::kFloat).square().reciprocal());
  }
}

at::Tensor CovarianceAccumulator::covariance() const {
  return scale_by_maximum_ ? sum_ / static_cast<double>(samples_) : sum_;
}

}  // namespace corda::calibrate
