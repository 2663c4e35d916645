// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "covariance/accumulator.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "corda/linalg/accumulate.h"

namespace corda::covariance {

namespace {

// Takes s s^T / tokens off the lower triangle of `sum`, each entry in fp64 with one rounding, and
// so a few rows at a time. Where x hardly varies the rounding of `sum` may leave less than nothing
// on the diagonal; that becomes zero, as no variance is less.
void take_off_mean(const at::Tensor& sum, const at::Tensor& s, std::int64_t tokens) {
  constexpr std::int64_t kRows = 256;
  const std::int64_t n = sum.size(0);
  for (std::int64_t begin = 0; begin < n; begin += kRows) {
    const std::int64_t count = std::min(kRows, n - begin);
    const at::Tensor squares = at::outer(s.narrow(0, begin, count), s.narrow(0, 0, begin + count));
    sum.narrow(0, begin, count)
        .narrow(1, 0, begin + count)
        .sub_(squares.div(static_cast<double>(tokens)));
  }
  sum.diagonal().clamp_min_(0);
}

}  // namespace

CovarianceAccumulator::CovarianceAccumulator(std::int64_t in_features, bool scale_by_maximum,
                                             at::Device device, bool center)
    : scale_by_maximum_(scale_by_maximum) {
  const auto options = at::TensorOptions().device(device).dtype(at::kFloat);
  sum_ = at::zeros({in_features, in_features}, options);
  one_ = at::ones({1}, options);
  if (center) of_x_ = at::zeros({in_features}, options.dtype(at::kDouble));
}

void CovarianceAccumulator::add_scaled(const at::Tensor& x, const at::Tensor& scale) {
  linalg::add_scaled_gram(sum_, x, scale);
  // The root of the very scale that multiplied the squares, or what is taken off would not fit.
  if (of_x_.defined()) of_x_.addcmul_(x.sum(0, false, at::kDouble), scale.to(at::kDouble).sqrt());
}

void CovarianceAccumulator::add(const at::Tensor& x, const std::vector<std::int32_t>& offsets) {
  const at::NoGradGuard no_grad;
  samples_ += static_cast<std::int64_t>(offsets.size()) - 1;
  tokens_ += x.size(0);
  if (!scale_by_maximum_) {
    add_scaled(x, one_);
    return;
  }
  const auto sample = [&](std::size_t i) { return x.slice(0, offsets[i], offsets[i + 1]); };
  // The scales stay on the device: reading one here would make the GPU wait for every sample. They
  // are made together, because a launch for each sample and step would show.
  std::vector<at::Tensor> maxima;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) maxima.push_back(sample(i).max());
  const at::Tensor scales = at::stack(maxima).to(at::kFloat).square().reciprocal();
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i)
    add_scaled(sample(i), scales.narrow(0, static_cast<std::int64_t>(i), 1));
}

std::vector<at::Tensor> CovarianceAccumulator::sums() const {
  if (!of_x_.defined()) return {sum_};
  return {sum_, of_x_};
}

at::Tensor CovarianceAccumulator::finish(std::int64_t samples, std::int64_t tokens) {
  if (of_x_.defined()) {
    const at::Tensor squares = sum_.diagonal().max();
    take_off_mean(sum_, of_x_, tokens);
    share_left_ = sum_.diagonal().max() / squares;
  }
  if (scale_by_maximum_) sum_.div_(static_cast<double>(samples));
  linalg::mirror_lower(sum_);
  return std::exchange(sum_, {});
}

}  // namespace corda::covariance
