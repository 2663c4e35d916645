// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Names in the adapter directory, for those who write and who read it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "corda/adapter/adapter_reader.h"

namespace corda::adapter {

inline constexpr std::int64_t kNotesVersion = 1;
inline constexpr const char* kNotes = "corda.json";
inline constexpr std::string_view kPrefix = "base_model.model.";
inline constexpr std::string_view kHeadWeight = "lm_head.weight";
inline constexpr std::string_view kEmbeddingWeight = "model.embed_tokens.weight";

using TensorNames = AdapterReader::Entry;

inline TensorNames tensor_names(const std::string& module) {
  const std::string name = std::string(kPrefix) + module;
  return {.a = name + ".lora_A.weight",
          .b = name + ".lora_B.weight",
          .magnitude = name + ".lora_magnitude_vector"};
}

}  // namespace corda::adapter
