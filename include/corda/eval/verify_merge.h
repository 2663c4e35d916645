// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Shows that a merged model computes what base and adapter compute together.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/core/settings.h"

namespace corda::eval {

struct VerifySettings {
  std::string model;
  std::string assume_family = {};  // a model_type to read the model as; "": its own
  std::string adapter;
  std::string merged;
  std::string base = "auto";      // how the base was held in training: quant::base_names
  std::string into = "base";      // what was merged into: merge::MergeSettings
  double strength = 1;            // adapter::merged_weight's
  std::vector<std::string> data;  // the files that are read; empty: those of the adapter's run
  std::string format = "auto";    // of them: data::format_names
  std::string columns;            // data::parse_columns, where the file's names differ
  std::string template_name = "auto";
  std::string system;
  std::string date;
  bool skip_bad = false;
  std::int64_t samples = 256;  // of scale_curve: at most so many of each file; 0: all
  std::string device = "auto";
  std::int64_t threads = 0;  // that tokenise; 0: all
};

// The list behind the flags of `corda merge --verify` and of several values of --scale; not the
// directories and threads.
core::SettingsList settings_of(VerifySettings& settings);

struct VerifyResult {
  double relative_difference = 0;  // max |a - b| / max |a| over the logits of all targets
  double mean_difference = 0;      // root mean square of a - b over that of a
  std::int64_t tokens = 0;
  std::int64_t targets = 0;
  std::int64_t same_argmax = 0;  // targets at which both think the same token the most likely
  double loss_before = 0;        // mean over the targets, of base + adapter
  double loss_after = 0;         // and of the merged model
  std::string data;              // what they saw, for messages
  // Where the adapter was trained over codes and the files have 16 bits: `relative_difference` of
  // merging into the other one of the two, which was not written.
  std::optional<double> other_difference = {};

  bool agrees() const { return same_argmax == targets; }
};

// An adapter that was trained over codes is run over them (`base`; auto: the codes of the files,
// else those that the adapter's files name).
//
// Runs both in fp32 on the same tokens, one block at a time, the adapter unfolded beside the base's
// weights as PEFT runs it. The tokens are the first samples of `data` in their template; without
// `data` those of config.resolved.yaml beside the adapter's directory, where `corda train` left it
// (evaluation files before training files); without that, or where the files cannot be read any
// more, pseudo-random ones, which is said. Warns where the most likely token changed. Throws
// NumericalError where the logits differ by more than the rounding of the merged weights explains:
// 1e-4 of the largest logit for fp32 weights, 5e-3 for fp16 and 4e-2 for bf16; merging into 16 bits
// what was trained over codes is another model by more, and is only measured.
VerifyResult verify_merge(const VerifySettings& settings, core::Reporter& reporter);

}  // namespace corda::eval
