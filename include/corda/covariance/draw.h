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
#include "corda/data/sample_store.h"
#include "corda/model/config.h"

namespace corda::covariance {

// How calibration text is drawn and run; the same for every verb that calibrates.
struct DrawSettings {
  std::vector<std::string> data;       // the files that are drawn from
  std::string format = "auto";         // of them: data::format_names
  std::string columns;                 // data::parse_columns, where the file's names differ
  std::string template_name = "auto";  // makes records text: data::template_names, or a .jinja file
  std::string system;                  // prompt in place of that of the data; "": the data's
  std::string date;                    // YYYY-MM-DD that a template may show; "": today
  bool skip_bad = false;               // list bad records and leave them out, instead of stopping
  // Which part of question-answer data is read where no template is named: question-answer |
  // question.
  std::string qa_text = "question-answer";
  std::int64_t samples = 256;        // that are drawn (data::load_calibration)
  std::int64_t seq_len = 0;          // tokens of one, at most; 0: model::window_tokens
  std::int64_t seed = 233;           // of the draw
  std::int64_t batch_tokens = 8192;  // of one forward pass: bounds the memory, not the result
  // auto | reference | none: whether a sample's activations are divided by the magnitude of their
  // maximum, as CorDA's code does (settle_scaling).
  std::string activation_scaling = "auto";
  std::string hidden_states = "auto";  // where they wait between blocks: auto | device | host
  std::string dtype = "auto";          // of weights and activations: linalg::dtype_of
  std::int64_t threads = 0;            // of the CPU, from tokenising on; 0: all
};

// Lists every member but `data`. A continued run is bound to the date only through the text that
// shows it (Draw::fingerprint), keeps activations where it likes and takes other threads.
void add_draw_settings(core::SettingsList& list, DrawSettings& settings);

// Puts what `activation_scaling: auto` means in its place: none where inputs are centred, for who
// asks for that wants PEFT's EVA, which does not scale; else reference.
void settle_scaling(DrawSettings& settings, bool centred);

// Samples in batches of at most `batch_tokens` tokens, or of one sample.
struct Draw {
  std::vector<data::PackedBatch> batches;
  std::int64_t samples = 0;
  std::int64_t tokens = 0;

  // A hash of the token ids in their order: equal text gives an equal one.
  std::string fingerprint() const;
};

// What a user can do for more tokens: a draw that holds all of the data needs more data.
std::string advice_for_more_tokens(const Draw& draw, const DrawSettings& settings);

// Draws from `files` with the tokenizer of `model`; `settings.seq_len` is above 0. Throws as
// `data::load_calibration`.
Draw draw_samples(const DrawSettings& settings, const std::vector<std::string>& files,
                  const std::string& model, const model::ModelDescription& config,
                  core::Reporter& reporter);

// All samples that training on the files would have, cut at `settings.seq_len` tokens. Throws as
// `data::load_samples`.
data::SampleStore training_samples(const DrawSettings& settings,
                                   const std::vector<std::string>& files, const std::string& model,
                                   const model::ModelDescription& config, core::Reporter& reporter);

}  // namespace corda::covariance
