// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// How well a decomposition separates what a model needs from what it does not: perplexity without
// the smallest components of every layer (CorDA, Yang et al. 2024, section 3.2 and figure 2).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "corda/core/config_node.h"
#include "corda/core/reporter.h"
#include "corda/core/settings.h"
#include "corda/study/compare.h"

namespace corda::study {

struct TruncationSettings {
  std::string model;
  core::ConfigNode calibrations;  // by name: settings of corda calibrate
  core::ConfigNode tests;         // by name: settings of corda eval, task perplexity
  std::vector<double> ranks = {0, 16, 32, 64, 128, 256, 512, 1024};  // components that are dropped
  std::vector<std::string> methods = {"svd", "asvd", "co-svd"};
  std::vector<std::string> target_modules = {"all-linear"};
  bool head = true;         // the output head is truncated too, as in the paper
  double damping = 0.01;    // of co-svd: C + c mean(diag C) I
  double asvd_alpha = 0.5;  // of asvd: inputs are scaled by (mean |x|)^alpha
  std::string dtype = "auto";
  std::string device = "auto";
  std::int64_t threads = 0;
  std::string out = {};  // a JSONL file of the rows; "": none is written
};

core::SettingsList settings_of(TruncationSettings& settings);

struct TruncationRow {
  std::string method;       // "svd", "asvd" or "co-svd"; "-" where nothing is dropped
  std::string calibration;  // "-" for svd, which has none
  std::string test;
  std::int64_t dropped = 0;
  double nll = 0;  // mean per target token
  double perplexity = 0;
};

// W [out, in] of every target layer becomes W - U_r U_r^T W, U_r being the r left singular vectors
// with the smallest singular values of W S: S = I for svd, diag((mean |x|)^alpha + 1e-6) for asvd
// (Yuan et al. 2023), the damped input covariance for co-svd. That is the reconstruction from the
// components that are left, since U S V^T S^-1 = U U^T W. Factorised in fp64 by the exact routes,
// taken off in fp32 and rounded once. The model is in memory twice; nothing is written before the
// rows. Throws ConfigError (an r above a layer's size, named), NumericalError; else what loading,
// calibrating and evaluating throw.
std::vector<TruncationRow> truncation(const TruncationSettings& settings, core::Reporter& reporter,
                                      const ExpandPaths& expand = {});

// The rows as a table for people: one line a number of dropped components.
std::string to_text(const std::vector<TruncationRow>& rows);
// A JSON object a line.
std::string to_jsonl(const std::vector<TruncationRow>& rows);

}  // namespace corda::study
