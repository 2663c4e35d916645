// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The text that covariances are collected on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/core/settings.h"
#include "corda/data/batch.h"
#include "corda/model/config.h"

namespace corda::covariance {

// How calibration text is drawn and run; the same for every verb that calibrates.
struct DrawSettings {
  std::vector<std::string> data;
  std::string format = "auto";
  std::string columns;
  std::string template_name = "auto";
  std::string system;
  std::string date;
  bool skip_bad = false;
  std::string qa_text = "question-answer";  // question-answer | question
  std::int64_t samples = 256;
  std::int64_t seq_len = 2048;
  std::int64_t seed = 233;
  std::int64_t batch_tokens = 8192;
  std::string activation_scaling = "reference";  // reference | none
  std::string hidden_states = "auto";            // auto | device | host
  std::string dtype = "auto";
};

// Lists every member but `data`. A continued run is bound to the date only through the text that
// shows it (Draw::fingerprint), and keeps activations where it likes.
void add_draw_settings(core::SettingsList& list, DrawSettings& settings);

// Samples in batches of at most `batch_tokens` tokens, or of one sample.
struct Draw {
  std::vector<data::PackedBatch> batches;
  std::int64_t samples = 0;
  std::int64_t tokens = 0;

  // Of the token ids in their order: equal text gives an equal one.
  std::string fingerprint() const;
};

// Draws from `files` with the tokenizer of `model`. Throws as `data::load_calibration`.
Draw draw_samples(const DrawSettings& settings, const std::vector<std::string>& files,
                  const std::string& model, const model::ModelConfig& config,
                  core::Reporter& reporter);

}  // namespace corda::covariance
