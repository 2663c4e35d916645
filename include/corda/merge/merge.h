// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Puts an adapter into its base model: a plain model directory that loads anywhere.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/core/settings.h"

namespace corda::merge {

struct MergeSettings {
  std::string model;           // the base's directory
  std::string adapter;         // the adapter's directory
  std::string out;             // the model directory that is written
  std::string dtype = "auto";  // auto: as each tensor of the base | bf16 | fp16 | fp32
  // What the change of every layer is multiplied by (adapter::merged_weight's strength). Merging
  // takes one value.
  std::vector<double> scale = {1};
  std::string max_shard_size = {};  // "5GB", "500MB"; empty: the shards of the base
  // base: the 16-bit (or fp32) weights of the files | quantised-base: what is left of them in codes
  std::string into = "base";
  // The codes: quant::base_names. auto: those of the files, else those that the adapter was trained
  // over.
  std::string base = "auto";
  std::string covariance = {};  // directory of `corda calibrate`, for error feedback; "": none
  double damping = 0.01;        // quant::round_with_feedback
  std::int64_t threads = 0;     // of the CPU; 0: all
};

// The list behind the flags of `corda merge` and settings.resolved.yaml.
core::SettingsList settings_of(MergeSettings& settings);

struct MergeResult {
  std::int64_t tensors = 0;
  std::int64_t merged = 0;  // tensors that the adapter changed
  std::int64_t shards = 0;
  std::int64_t bytes = 0;
  double seconds = 0;
  // Figures where a covariance was given: means over the merged layers of quant::output_error, of
  // the rounding and of what rounding to nearest would have had.
  double output_error = 0;
  double plain_error = 0;
};

// "5GB", "500MB", "1GiB", "4096" to bytes; KB, MB, GB are powers of 1000 as in other tools. Throws
// ConfigError.
std::int64_t parse_size(const std::string& text);

// With `into: quantised-base` the base is the dequantised copy of its codes: all layers of the
// blocks are what the codes mean, whether the files hold them or they are made here. A model whose
// files are quantised is merged in no other way (ConfigError). With a covariance, which must be of
// this model, 16-bit weights that the adapter changed are rounded by quant::round_with_feedback.
//
// Writes the base with `adapter::merged_weight` in place of each adapted weight: fp32 arithmetic,
// one rounding to the stored dtype, one tensor in memory at a time. Every other tensor and every
// file that is not a weight keeps its bytes (io::rewrite_checkpoint), but for the chat template,
// which becomes the one the adapter was trained through where that was not the base's own, and
// tie_word_embeddings, which becomes false where the adapter changes the head; written beside and
// renamed, re-read and checked. Throws as adapter::check_fit before anything is written, and
// NumericalError, naming the module, where a result is not finite. `check`, where given, is called
// with the complete directory before it gets its name; what it throws leaves nothing behind.
MergeResult merge(const MergeSettings& settings, core::Reporter& reporter,
                  const std::function<void(const std::filesystem::path& merged)>& check = {});

}  // namespace corda::merge
