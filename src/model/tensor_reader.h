// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Reads the tensors of a model one after the other, the next one while the present one is used.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "corda/linalg/upload.h"
#include "corda/quant/model_weights.h"

namespace corda::model {

// On a GPU tensors go through pinned memory, which several threads fill; values of codes that a
// kernel knows are made there, as in ModelWeights::load. Memory for one tensor more is needed.
class TensorReader {
 public:
  // `names`: in the order in which they will be taken.
  TensorReader(const quant::ModelWeights& weights, std::vector<std::string> names,
               at::Device device);

  // The next tensor, which must be that of this name, on the current stream. Errors as
  // ModelWeights::load.
  at::Tensor take(const std::string& name, at::ScalarType type);

 private:
  std::optional<linalg::Uploader::Upload> start(std::size_t place);

  quant::ModelWeights weights_;
  std::vector<std::string> names_;
  at::Device device_;
  linalg::Uploader uploader_;
  std::size_t next_ = 0;
  std::optional<linalg::Uploader::Upload> ahead_;  // of the next one, where it is uploaded
};

}  // namespace corda::model
