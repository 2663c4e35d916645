// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Measures a model, with or without an adapter: perplexity, the tasks of lm-evaluation-harness,
// answers for the scorers of others.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/core/settings.h"
#include "corda/dist/world.h"

namespace corda::eval {

// How answers are generated.
struct AnswerSettings {
  std::int64_t max_new_tokens = 0;     // of an answer; 0: the task's own
  std::vector<std::string> stop = {};  // texts that end an answer, beside EOS and those of the task
  double temperature = 0;              // 0: the likeliest token
  double top_p = 1;
  std::int64_t top_k = 0;
  std::int64_t seed = 0;
};
void add_answer_settings(core::SettingsList& list, AnswerSettings& settings);

struct EvalSettings {
  std::string model = {};              // the base's directory
  std::string assume_family = {};      // a model_type to read the model as; "": its own
  std::string adapter = {};            // its directory; "": the base alone
  std::string task = "perplexity";     // perplexity | generate | a task of docs/eval.md
  std::vector<std::string> data = {};  // the files that are read
  std::string format = "auto";         // of them: data::format_names
  std::string columns = {};            // data::parse_columns, where the file's names differ
  std::string template_name = "auto";  // makes records text: data::template_names, or a .jinja file
  std::string system = {};             // prompt in place of that of the data; "": the data's
  std::string date = {};               // YYYY-MM-DD that a template may show; "": today
  bool skip_bad = false;               // list bad records and leave them out, instead of stopping
  std::int64_t seq_len = 0;            // tokens of a window or sample; 0: model::window_tokens; of
                                       // tasks: of prompt and answer, 0: the model's positions
  std::int64_t samples = 0;            // at most so many records or windows; 0: all
  std::int64_t shots = -1;             // examples in front of a question; -1: the task's own
  std::vector<std::string> shots_data = {};  // the files they come from; none: `data`
  std::string bos = "auto";                  // auto | on | off: BOS before prompts
  std::string harness = "0.4.13";            // where versions of lm-evaluation-harness differ
  AnswerSettings answers = {};
  std::string predictions = {};       // a JSONL file to write what was found item by item
  std::string compare = {};           // such a file of another model
  bool card = false;                  // put the scores into the card of the adapter or the model
  std::int64_t batch_tokens = 16384;  // of one forward pass: bounds the memory, not the result
  bool add_bos = false;               // begin each window of plain text with BOS
  std::string device = "auto";        // linalg::device_of
  std::string dtype = "auto";         // of weights and activations: linalg::dtype_of
  std::string base = "auto";          // of the layers of the blocks: quant::base_names
  std::int64_t threads = 0;           // of the CPU; 0: all
};

// The list behind the flags of `corda eval`.
core::SettingsList settings_of(EvalSettings& settings);

struct Metric {
  std::string name = {};
  double value = 0;
  std::optional<double> error = {};  // standard error of a mean, of two items or more
};

struct Group {
  std::string name = {};
  std::int64_t items = 0;
  std::vector<Metric> metrics;
};

// The same items with another model, by one metric that is 0 or 1.
struct Comparison {
  std::string metric = {};
  double other = 0;         // the mean there
  std::int64_t gained = 0;  // items right here and wrong there
  std::int64_t lost = 0;    // the other way round
  double p = 1;             // McNemar's exact test, two-sided
};

struct EvalResult {
  std::string task = {};
  std::string score_name = {};  // "perplexity" | "exact_match" | the first metric
  double score = 0;             // exact_match of qa in percent
  double nll = 0;               // mean per target token, natural logarithm
  double perplexity = 0;        // exp(nll)
  std::int64_t tokens = 0;      // targets; 0: the three above were not measured
  std::int64_t samples = 0;     // questions, records or windows
  // What tasks alone have.
  std::string harness = {};
  std::string bos = {};  // on | off, what auto became
  std::int64_t shots = 0;
  double seconds = 0;  // of scoring and answering, without loading
  std::vector<Metric> metrics = {};
  std::vector<Group> groups = {};
  std::vector<Comparison> comparisons = {};
};

// Task perplexity: `text` files as non-overlapping windows of `seq_len` tokens of the joined text,
// without BOS unless `add_bos`, every target weighted alike; instruction files through the
// template, the response's tokens as targets.
//
// Task qa: the prompt "Question: q\nAnswer:", behind BOS where the model uses one, is continued
// greedily, or with a `template_name` other than auto and plain put as a user's message; right is
// what equals one of the accepted answers after SQuAD's normalisation. `nll` is that of a space,
// the first accepted answer and EOS, where the prompt goes through no template.
//
// Task generate: answers to HumanEval, MBPP, MT-Bench or IFEval, whose columns tell them apart, are
// written to `predictions` in the form that their scorers read.
//
// Other tasks: what lm-evaluation-harness of version `harness` computes, its prompts, draws, stops
// and scores; probabilities are computed in fp32 whatever the dtype. docs/eval.md lists them.
//
// The adapter is folded into the weights in fp32, as `corda merge` would. Several ranks share the
// samples or items, and all have the result of one; task generate is for one process.
//
// With `card` the scores stand afterwards in the README.md of the adapter, or of the model where no
// adapter is given (card::add_scores); a card that they cannot go into is found before the work.
EvalResult evaluate(const EvalSettings& settings, core::Reporter& reporter,
                    dist::World& world = dist::alone());

// SQuAD's normalisation (Rajpurkar et al. 2016): lower case, no ASCII punctuation, no articles,
// single spaces.
std::string normalize_answer(const std::string& answer);

}  // namespace corda::eval
