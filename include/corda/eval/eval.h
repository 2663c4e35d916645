// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Measures a model, with or without an adapter: perplexity and closed-book question answering.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/core/settings.h"

namespace corda::eval {

struct EvalSettings {
  std::string model;
  std::string adapter;
  std::string task = "perplexity";  // perplexity | qa
  std::vector<std::string> data;
  std::string format = "auto";
  std::string columns;
  std::string template_name = "auto";
  std::string system;
  std::string date;
  bool skip_bad = false;
  std::int64_t seq_len = 0;  // of a window or sample, at least 2; 0: model::window_tokens
  std::int64_t samples = 0;  // at most so many records or windows; 0: all
  std::int64_t max_new_tokens = 16;
  std::vector<std::string> stop;  // texts that end an answer, beside EOS
  std::int64_t batch_tokens = 16384;
  bool add_bos = false;
  std::string device = "auto";
  std::string dtype = "auto";
  std::int64_t threads = 0;
};

core::SettingsList settings_of(EvalSettings& settings);

struct EvalResult {
  std::string task;
  std::string score_name;    // "perplexity" | "exact_match"
  double score = 0;          // exact_match in percent
  double nll = 0;            // mean per target token, natural logarithm
  double perplexity = 0;     // exp(nll)
  std::int64_t tokens = 0;   // targets
  std::int64_t samples = 0;  // questions, records or windows
};

// perplexity: `text` files as non-overlapping windows of `seq_len` tokens of the joined text (no
// BOS
//   unless `add_bos`), every target weighted alike; instruction files through the template, the
//   response's tokens as targets.
// qa: the prompt "Question: q\nAnswer:" (BOS first where the model uses one) continued greedily;
// right
//   where the answer equals one of the accepted ones after SQuAD normalisation. `nll` is that of "
//   " + the first accepted answer + EOS.
// The adapter is folded into the weights in fp32, as `corda merge` would.
EvalResult evaluate(const EvalSettings& settings, core::Reporter& reporter);

// SQuAD's normalisation (Rajpurkar et al. 2016): lower case, no ASCII punctuation, no articles,
// single spaces.
std::string normalize_answer(const std::string& answer);

}  // namespace corda::eval
