// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Reads a model one decoder block at a time, the next one while the present one is used.
#pragma once

#include <optional>
#include <string>

#include "corda/linalg/upload.h"
#include "corda/model/model.h"

namespace corda::model {

// Weights go from the mapped safetensors through pinned memory to the device, dequantised on the
// way where they are quantised.
class BlockLoader {
 public:
  // Throws as `check_checkpoint`.
  BlockLoader(const quant::ModelWeights& weights, const ModelDescription& config,
              const LoadOptions& options);

  // The block, on the current stream. Starts reading the next one, so memory for two is needed.
  Block take(std::int64_t layer);
  // On the CPU: takes the block's part of the mapped files out of this process's memory.
  void forget(std::int64_t layer) const;
  // The token embedding [vocab, hidden] in the options' weight type.
  at::Tensor embedding();

 private:
  linalg::Uploader::Upload start(const std::vector<std::string>& names);
  void forget(const std::vector<std::string>& names) const;
  std::vector<at::Tensor> finish(linalg::Uploader::Upload& upload) const;

  quant::ModelWeights weights_;
  ModelDescription config_;
  LoadOptions options_;
  linalg::Uploader uploader_;
  std::optional<linalg::Uploader::Upload> ahead_;
  std::int64_t ahead_layer_ = -1;
};

}  // namespace corda::model
