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
  // With `center` the mean is taken off in the end.
  CovarianceAccumulator(std::int64_t in_features, bool scale_by_maximum, at::Device device,
                        bool center = false);

  // Adds a batch's activations x [tokens, in]; sequence i is the rows [offsets[i], offsets[i + 1]).
  void add(const at::Tensor& x, const std::vector<std::int32_t>& offsets);

  // What was added so far, on the device: the lower triangle [in, in], fp32, and to be centred also
  // the sum of x over the tokens [in], fp64. The sums of several ranks may be added to these.
  std::vector<at::Tensor> sums() const;
  // C [in, in] fp32 on the device, divided by the number of samples where these were scaled, and
  // centred with the number of tokens; both are those of all ranks. Nothing may be added
  // afterwards.
  at::Tensor finish(std::int64_t samples, std::int64_t tokens);
  at::Tensor finish() { return finish(samples_, tokens_); }
  // After `finish`, of a centred one: the largest variance over the largest mean square. Where it
  // is small, rounding of the fp32 sums, 1e-7 of the squares, is a large part of C.
  double share_left() const { return share_left_.item<double>(); }

 private:
  void add_scaled(const at::Tensor& x, const at::Tensor& scale);

  at::Tensor sum_;   // lower triangle
  at::Tensor of_x_;  // sum over the tokens, undefined where nothing is centred
  at::Tensor one_;
  at::Tensor share_left_;
  bool scale_by_maximum_;
  std::int64_t samples_ = 0;
  std::int64_t tokens_ = 0;
};

}  // namespace corda::covariance
