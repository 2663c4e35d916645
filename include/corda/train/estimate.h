// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What a training will need, from its settings and the model's config.json alone; of a model that
// is quantised also from its files, where they are there.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/train/settings.h"

namespace corda::train {

// A card as its maker describes it.
struct Gpu {
  std::string name;
  std::int64_t memory_bytes = 0;  // that a process can have
  double flops = 0;               // a second, dense, 16-bit inputs and 32-bit sums
  int major = 0;                  // of its compute capability, major.minor
  int minor = 0;
};

// The cards that `gpu_named` knows, the largest first.
const std::vector<Gpu>& known_gpus();
// "H100", "4090", "RTX 3090", "a100-40gb": case and the maker's words do not matter. Throws
// ConfigError with the names there are.
Gpu gpu_named(const std::string& name);
// A GPU of this machine, with the memory that is free now.
Gpu gpu_of(at::Device device);

// How much data there is; of a file that is not there yet what the settings allow.
struct DataSize {
  std::int64_t samples = 0;  // 0: not known
  double mean_tokens = 0;    // of a sample
  std::int64_t longest = 0;  // tokens
};
// Reads the first records of every training file, and counts the rest. nullopt where a file or the
// tokenizer is not there.
std::optional<DataSize> measure_data(const TrainSettings& settings, core::Reporter& reporter);

struct MemoryPart {
  std::string what;
  std::int64_t bytes = 0;
};

struct Estimate {
  std::string gpu;
  std::int64_t gpu_bytes = 0;  // of memory
  std::string precision, gradients, recompute, offload;
  std::int64_t rank = 0;  // 0: full
  std::int64_t model_parameters = 0;
  std::int64_t trained_parameters = 0;
  std::int64_t micro_batch_tokens = 0;
  std::vector<MemoryPart> parts;
  std::int64_t total_bytes = 0;
  bool fits = false;
  std::vector<std::string> advice;  // settings, "optim.micro_batch_tokens=4096", that make it fit
  double flops_per_token = 0;
  double tokens_per_second = 0;
  std::int64_t steps = 0;  // 0: not known without data
  std::int64_t tokens = 0;
  double seconds = 0;                 // 0: not known
  std::int64_t checkpoint_bytes = 0;  // of the disk, each
};

// `gpus`: of one machine, each of them a rank.
//
// Throws ConfigError as `check`, for a rank or targets that the model has not, for precision fp8 on
// a GPU that cannot multiply in float8, and as model::read_model_config. Reads no weights.
Estimate estimate(const TrainSettings& settings, const Gpu& gpu,
                  const std::optional<DataSize>& data, core::Reporter& reporter, int gpus = 1);

}  // namespace corda::train
