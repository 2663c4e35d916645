// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A model's config.json, read strictly: what changes the mathematics is implemented or refused.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "corda/core/reporter.h"
#include "corda/kernels/activation.h"

namespace corda::model {

namespace fs = std::filesystem;

enum class RopeScalingType { kNone, kLinear, kLlama3 };

// How rotary frequencies are stretched for long contexts.
struct RopeScaling {
  RopeScalingType type = RopeScalingType::kNone;
  double factor = 1;
  double low_freq_factor = 1;  // llama3 only, as are the two below
  double high_freq_factor = 4;
  std::int64_t original_max_positions = 8192;
};

// The description of a decoder-only language model, after defaults are filled in.
struct ModelConfig {
  std::string model_type;  // "llama" | "mistral"
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t num_layers = 0;
  std::int64_t num_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t max_positions = 0;
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000;
  RopeScaling rope_scaling;
  kernels::Activation activation = kernels::Activation::kSilu;  // of the gate
  bool attention_bias = false;
  bool mlp_bias = false;
  bool tie_word_embeddings = false;
};

// Reads DIR/config.json. Throws FormatError that lists every key that is missing, malformed, not
// implemented (by name and value) or unknown.
ModelConfig read_model_config(const fs::path& directory);

// The same from JSON text; `source` names it in errors.
ModelConfig parse_model_config(std::string_view json, const std::string& source);

// Warns where sequences of `length` tokens, named by `what`, are longer than the model's positions.
void warn_beyond_positions(const ModelConfig& config, std::int64_t length, std::string_view what,
                           core::Reporter& reporter);

// The tokens of a window of text: `asked`, or, where that is 0, 2048 or the model's positions where
// they are fewer, which is then said.
std::int64_t window_tokens(const ModelConfig& config, std::int64_t asked, core::Reporter& reporter);

// "sha256:..." of DIR/config.json, which changes what a model computes though no weight changes.
std::string config_fingerprint(const fs::path& directory);

}  // namespace corda::model
