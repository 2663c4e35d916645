// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/agreement.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace corda::train {

namespace {

constexpr std::int64_t kPeaks = 3;  // where the peaks begin

}  // namespace

void Agreement::begin(const at::Tensor& loss_sum, bool stop, bool due,
                      std::int64_t peak_memory_bytes) {
  at::Tensor values = at::zeros({kPeaks + world_.size()}, at::kDouble);
  auto host = values.accessor<double, 1>();
  host[1] = stop ? 1 : 0;
  host[2] = due ? 1 : 0;
  host[kPeaks + world_.rank()] = static_cast<double>(peak_memory_bytes);
  values_ = values.to(device_);
  values_[0].copy_(loss_sum);
  world_.sum(values_);
}

Agreed Agreement::read() {
  const at::Tensor read = values_.cpu();
  const auto host = read.accessor<double, 1>();
  Agreed agreed{.loss_sum = host[0], .stop = host[1] > 0, .due = host[2] > 0};
  for (std::int64_t i = kPeaks; i < read.size(0); ++i) {
    agreed.peak_memory_bytes =
        std::max(agreed.peak_memory_bytes, static_cast<std::int64_t>(host[i]));
  }
  return agreed;
}

}  // namespace corda::train
