// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The running covariance of one site.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace corda::covariance {

class CovarianceAccumulator {
 public:
  CovarianceAccumulator(std::int64_t in_features, bool scale_by_maximum, at::Device device);

  // Adds a batch's activations x [tokens, in]; sequence i is the rows [offsets[i], offsets[i + 1]).
  void add(const at::Tensor& x, const std::vector<std::int32_t>& offsets);

  // What was added so far, lower triangle [in, in], fp32 on the device: the sums of several ranks
  // may be added to it.
  const at::Tensor& sum() const { return sum_; }
  // C [in, in] fp32 on the device, divided by the number of samples, which is that of all ranks,
  // where samples were scaled. Nothing may be added afterwards.
  at::Tensor finish(std::int64_t samples);
  at::Tensor finish() { return finish(samples_); }

 private:
  at::Tensor sum_;  // lower triangle
  at::Tensor one_;
  bool scale_by_maximum_;
  std::int64_t samples_ = 0;
};

}  // namespace corda::covariance
