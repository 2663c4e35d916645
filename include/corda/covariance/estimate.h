// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What calibration, and decomposition in one pass with it, will need, from config.json alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "corda/model/description.h"

namespace corda::covariance {

// What a covariance of so many inputs takes on the disk, whole or its lower triangle.
std::int64_t bytes_on_disk(std::int64_t in_features, bool packed);

struct StreamWork {
  std::int64_t samples = 256;
  std::int64_t seq_len = 2048;
  std::int64_t batch_tokens = 8192;
  std::int64_t draws = 1;        // sets of samples: two of mode dual
  bool decomposes = false;       // adapters are made; else covariances are written
  std::int64_t stored_rank = 0;  // of the adapters' file
  bool packed = true;            // of the covariances' files
};

struct StreamPart {
  std::string what;
  std::int64_t bytes = 0;
};

struct StreamEstimate {
  std::vector<StreamPart> parts;  // of a GPU's memory, 16 bits
  std::int64_t total_bytes = 0;
  std::int64_t host_bytes = 0;  // pinned, where activations do not fit a quarter of the GPU
  std::int64_t disk_bytes = 0;  // that the result takes
};

// The memory on a GPU with `gpu_bytes` free (covariance/stream.h says what is held at a time).
StreamEstimate estimate_stream(const model::ModelDescription& model, const StreamWork& work,
                               std::int64_t gpu_bytes);

}  // namespace corda::covariance
