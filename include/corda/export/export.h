// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// An adapter as others want it: of a lower rank, in 16 bits, for llama.cpp.
#pragma once

#include <cstdint>
#include <string>

#include "corda/core/reporter.h"
#include "corda/core/settings.h"

namespace corda::exports {

struct ExportSettings {
  std::string adapter = {};
  std::string model = {};       // its base: for GGUF its config.json is read
  std::int64_t rank = 0;        // 0: that of the stored product
  std::string dtype = "fp32";   // fp32 | bf16 | fp16
  std::string format = "peft";  // peft: a directory | gguf: a file for llama.cpp
  std::string out = {};
  std::int64_t threads = 0;
};

core::SettingsList settings_of(ExportSettings& settings);

struct ExportResult {
  std::int64_t layers = 0;
  std::int64_t rank = 0;  // the largest of a layer that was written
  std::int64_t bytes = 0;
  double relative_error = 0;  // ||update - written||_F / ||update||_F over all layers
  double largest_error = 0;   // of one layer
  std::string worst_layer;    // that layer, "" where nothing was lost
};

// Writes `out` atomically as a plain LoRA on the same base: each layer the best approximation of
// its update of that rank, its factors rounded once to `dtype`. A GGUF's factors carry the scale,
// and the rows of queries and keys stand in llama.cpp's order where it has one of its own. Throws
// ConfigError for a DoRA and for a family that llama.cpp is not known to have, and where `out` is
// there; FormatError as the reader of adapters.
ExportResult export_adapter(const ExportSettings& settings, core::Reporter& reporter);

}  // namespace corda::exports
