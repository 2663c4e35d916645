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
  std::string model;                   // the base's directory
  std::string assume_family = {};      // a model_type to read the model as; "": its own
  std::string adapter;                 // its directory; "": the base alone
  std::string task = "perplexity";     // perplexity | qa
  std::vector<std::string> data;       // the files that are read
  std::string format = "auto";         // of them: data::format_names
  std::string columns;                 // data::parse_columns, where the file's names differ
  std::string template_name = "auto";  // makes records text: data::template_names, or a .jinja file
  std::string system;                  // prompt in place of that of the data; "": the data's
  std::string date;                    // YYYY-MM-DD that a template may show; "": today
  bool skip_bad = false;               // list bad records and leave them out, instead of stopping
  std::int64_t seq_len = 0;            // tokens of a window or sample; 0: model::window_tokens
  std::int64_t samples = 0;            // at most so many records or windows; 0: all
  std::int64_t max_new_tokens = 16;    // of an answer
  std::vector<std::string> stop;       // texts that end an answer, beside EOS
  std::int64_t batch_tokens = 16384;   // of one forward pass: bounds the memory, not the result
  bool add_bos = false;                // begin each window of plain text with BOS
  std::string device = "auto";         // linalg::device_of
  std::string dtype = "auto";          // of weights and activations: linalg::dtype_of
  std::string base = "auto";           // of the layers of the blocks: quant::base_names
  std::int64_t threads = 0;            // of the CPU; 0: all
};

// The list behind the flags of `corda eval`.
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

// Task perplexity: `text` files as non-overlapping windows of `seq_len` tokens of the joined text,
// without BOS unless `add_bos`, every target weighted alike; instruction files through the
// template, the response's tokens as targets.
//
// Task qa: the prompt "Question: q\nAnswer:", behind BOS where the model uses one, is continued
// greedily; right is what equals one of the accepted answers after SQuAD's normalisation. `nll` is
// that of a space, the first accepted answer and EOS.
//
// The adapter is folded into the weights in fp32, as `corda merge` would.
EvalResult evaluate(const EvalSettings& settings, core::Reporter& reporter);

// SQuAD's normalisation (Rajpurkar et al. 2016): lower case, no ASCII punctuation, no articles,
// single spaces.
std::string normalize_answer(const std::string& answer);

}  // namespace corda::eval
