// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/block_loader.h"

#include <ATen/ATen.h>

namespace corda::model {

BlockLoader::BlockLoader(const quant::ModelWeights& weights, const ModelDescription& config,
                         const LoadOptions& options)
    : weights_(weights), config_(config), options_(options), uploader_(options.device) {
  check_checkpoint(weights, config);
}

linalg::Uploader::Upload BlockLoader::start(const std::vector<std::string>& names) {
  std::vector<linalg::HostRows> rows;
  for (const auto& name : names) rows.push_back(weights_.rows(name));
  return uploader_.start(std::move(rows));
}

std::vector<at::Tensor> BlockLoader::finish(linalg::Uploader::Upload& upload) const {
  std::vector<at::Tensor> tensors = upload.wait();
  for (auto& tensor : tensors) tensor = tensor.to(options_.weights);
  return tensors;
}

Block BlockLoader::take(std::int64_t layer) {
  const auto names = block_tensors(config_, layer);
  linalg::Uploader::Upload upload =
      ahead_ && ahead_layer_ == layer ? std::move(*ahead_) : start(names);
  ahead_.reset();
  if (layer + 1 < config_.num_layers()) {
    ahead_ = start(block_tensors(config_, layer + 1));
    ahead_layer_ = layer + 1;
  }
  const auto tensors = finish(upload);
  std::size_t next = 0;
  return make_block(config_, layer, [&](const std::string&) { return tensors[next++]; });
}

void BlockLoader::forget(const std::vector<std::string>& names) const {
  if (!options_.device.is_cpu()) return;
  for (const auto& name : names) weights_.forget(name);
}

void BlockLoader::forget(std::int64_t layer) const { forget(block_tensors(config_, layer)); }

at::Tensor BlockLoader::embedding() {
  const std::vector<std::string> names = {config_.prefix + "embed_tokens.weight"};
  linalg::Uploader::Upload upload = start(names);
  at::Tensor embedding = finish(upload).front();
  forget(names);
  return embedding;
}

}  // namespace corda::model
