// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "model/tensor_reader.h"

#include <ATen/ATen.h>

#include <utility>

#include "corda/core/error.h"

namespace corda::model {

TensorReader::TensorReader(const quant::ModelWeights& weights, std::vector<std::string> names,
                           at::Device device)
    : weights_(weights), names_(std::move(names)), device_(device), uploader_(device) {}

std::optional<linalg::Uploader::Upload> TensorReader::start(std::size_t place) {
  if (place >= names_.size() || device_.is_meta() || weights_.packed(names_[place]))
    return std::nullopt;
  return uploader_.start({weights_.rows(names_[place])});
}

at::Tensor TensorReader::take(const std::string& name, at::ScalarType type) {
  if (next_ >= names_.size() || names_[next_] != name)
    throw core::InternalError("[model::TensorReader] '" + name + "' is not next");
  std::optional<linalg::Uploader::Upload> upload =
      next_ == 0 ? start(0) : std::exchange(ahead_, std::nullopt);
  ahead_ = start(++next_);
  if (!upload) return weights_.load(name, device_, type);
  return upload->wait().front().to(type);
}

}  // namespace corda::model
