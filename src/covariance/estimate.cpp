// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/covariance/estimate.h"

#include <algorithm>

namespace corda::covariance {

namespace {

constexpr std::int64_t kHalf = 2;    // bytes of 16 bits
constexpr std::int64_t kFloat = 4;   // of fp32
constexpr std::int64_t kDouble = 8;  // of fp64

// What all blocks' sites take together of one block's.
struct BlockSizes {
  std::int64_t weights = 0;              // elements
  std::int64_t covariances = 0;          // elements, whole squares
  std::int64_t covariances_on_disk = 0;  // bytes
  std::int64_t adapters = 0;             // elements, of rank 1
  std::int64_t solver = 0;               // bytes, of the widest layer
};

BlockSizes sizes_of(const model::ModelDescription& model, bool packed) {
  BlockSizes sizes;
  for (const model::SiteDescription* site : model.sites()) {
    const std::int64_t in = site->in_features;
    sizes.covariances += in * in;
    sizes.covariances_on_disk += bytes_on_disk(in, packed);
    for (const model::LayerDescription& layer : site->layers) {
      sizes.weights += in * layer.out_features;
      sizes.adapters += in + layer.out_features;
      // The damped covariance and the weight, or its product with it, in fp64.
      sizes.solver = std::max(sizes.solver, kDouble * (in * in + in * layer.out_features));
    }
  }
  return sizes;
}

}  // namespace

std::int64_t bytes_on_disk(std::int64_t in_features, bool packed) {
  return kFloat * (packed ? in_features * (in_features + 1) / 2 : in_features * in_features);
}

StreamEstimate estimate_stream(const model::ModelDescription& model, const StreamWork& work,
                               std::int64_t gpu_bytes) {
  const BlockSizes block = sizes_of(model, work.packed);
  const std::int64_t hidden = model.hidden_size;
  StreamEstimate result;
  const auto add = [&](const char* what, std::int64_t bytes) {
    if (bytes > 0) result.parts.push_back({.what = what, .bytes = bytes});
    result.total_bytes += bytes;
  };
  add("weights of two blocks, 16 bits", 2 * kHalf * block.weights);
  const std::int64_t activations = work.draws * work.samples * work.seq_len * hidden * kHalf;
  const std::int64_t batch = std::max(work.batch_tokens, work.seq_len);
  const bool on_device = activations <= gpu_bytes / 4;
  if (on_device) {
    add("activations between blocks", activations);
  } else {
    add("activations of three batches", 3 * batch * hidden * kHalf);
    result.host_bytes = activations;
  }
  // A finished block's covariances wait as they are stored while the next block's are summed.
  const std::int64_t waiting = work.decomposes ? 0 : block.covariances_on_disk;
  add("covariances, fp32", work.draws * (kFloat * block.covariances + waiting));
  add("a batch's forward pass", batch * (3 * model.feed_forward.intermediate + 2 * hidden) * kHalf);
  if (work.decomposes) add("the solver, fp64", block.solver);
  const std::int64_t blocks = model.num_layers();
  result.disk_bytes = blocks * (work.decomposes ? kFloat * work.stored_rank * block.adapters
                                                : work.draws * block.covariances_on_disk);
  return result;
}

}  // namespace corda::covariance
