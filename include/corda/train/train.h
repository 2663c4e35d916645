// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Fine-tunes a model: settings in, a run directory out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/dist/world.h"
#include "corda/train/settings.h"

namespace corda::train {

// One optimizer step as metrics.jsonl records it.
struct StepMetrics {
  std::int64_t step = 0;  // from 1
  double epoch = 0;       // passes over the data so far
  double loss = 0;        // mean over the step's supervised tokens, natural logarithm
  double lr = 0;
  double grad_norm = 0;     // before clipping
  std::int64_t tokens = 0;  // of this step
  std::int64_t supervised_tokens = 0;
  double tokens_per_second = 0;
  // Share of the GPU's 16-bit peak that the matrix products of forward and backward used,
  // recomputed ones not counted; 0 where the peak is not known.
  double utilisation = 0;
  std::int64_t peak_memory_bytes = 0;
  std::optional<double> eval_loss;
  std::string eval_data = {};  // what tells the data that this loss is of from others
  // The gauge in all and by kind of layer ("q_proj"), where it was read (adapter::Gauges).
  std::optional<double> forgetting = {};
  std::map<std::string, double> forgetting_by_kind = {};
};

struct TrainResult {
  std::int64_t steps = 0;
  double loss = 0;                        // of the last step
  std::optional<double> eval_loss;        // after the last step
  std::optional<double> forgetting = {};  // likewise
  // The step that the output is of, where it is the one with the lowest evaluation loss.
  std::optional<std::int64_t> best_step;
  std::optional<double> best_eval_loss;
  std::string output;  // RUN/adapter, or RUN/model for full fine-tuning
  double seconds = 0;
  std::int64_t peak_memory_bytes = 0;
  // Of weights, gradients and optimizer on the rank that holds the most, beside activations.
  std::int64_t state_bytes = 0;
};

// Where a continued run goes on.
struct TakenUp {
  std::int64_t step = 0;   // the last that is finished
  std::string checkpoint;  // its directory; "": nothing is there yet, and the run begins
};

// What a run will do, known before it begins.
struct TrainPlan {
  TrainSettings settings;              // with what device and adapter decided filled in
  std::int64_t samples = 0;            // of an epoch
  std::int64_t replayed_samples = 0;   // of these
  std::int64_t tokens = 0;             // of one pass over all files
  std::int64_t supervised_tokens = 0;  // of these
  std::int64_t longest_sample = 0;     // tokens
  std::int64_t evaluation_samples = 0;
  std::int64_t longest_evaluation_sample = 0;
  std::int64_t steps_per_epoch = 0;
  std::int64_t steps = 0;
  std::int64_t warmup_steps = 0;
  double weight_decay = 0;            // of AdamW
  double decay_total = 0;             // the sum of rate (of A) x weight_decay over all steps
  std::int64_t model_parameters = 0;  // without an adapter's
  std::int64_t trained_parameters = 0;
  // Of weights, gradients and moments, beside activations: of one rank, where `split_over` share
  // them.
  std::int64_t state_bytes = 0;
  int split_over = 1;
  std::string device;                    // "cpu" or the GPU's product name
  std::optional<TakenUp> taken_up = {};  // with `resume`, by `plan`
};

// Checks what can be checked without the work, and says what the work would be: the run directory,
// the device, the model's configuration and the shapes of its tensors, the adapter, rank and
// targets, every data file, which it tokenises. Leaves nothing behind (but for a `data.cache` that
// is a directory). `ranks`: how many will train together, `ranks_here` of them on this machine.
// Throws what `train` would throw.
TrainPlan plan(const TrainSettings& settings, bool resume, core::Reporter& reporter, int ranks = 1,
               int ranks_here = 1);

// The plan in sentences for a user: steps, data, parameters, memory.
std::vector<std::string> describe(const TrainPlan& plan);

// Trains and writes RUN/adapter (full: RUN/model), checkpoints, config.resolved.yaml,
// metrics.jsonl. The loss of a step is the sum over its supervised tokens divided by their number,
// so micro-batches and packing do not change it, but for the masks that dropout draws for each
// forward pass. With `resume` it continues from the latest complete checkpoint as if it had never
// stopped (the same bytes on a CPU with the same thread count); it begins a run of which nothing is
// there yet, and refuses one that has made steps but no checkpoint. When the reporter asks to stop,
// the present step is finished and saved, and Interrupted is thrown. Where memory runs out in a
// step's forward and backward or in an evaluation, the last finished step is saved, and
// ResourceError is thrown. A checkpoint or a line of metrics that cannot be written does not end
// the run. Throws ConfigError, IoError, FormatError, ShapeError; NumericalError where the loss of a
// step or of an evaluation is not finite.
//
// As one of several ranks, which all call this with equal settings, each computes a part of every
// step's samples; gradients and losses are summed, so the result is that of one rank but for the
// order of sums (and the masks of dropout). Rank 0 writes the run directory, and may go on from a
// checkpoint that another number of ranks left; asked to stop on any rank, all end after the same
// step. Throws also ConfigError that names a rank with other settings, model or data, and
// dist::PeerLost.
TrainResult train(const TrainSettings& settings, bool resume, core::Reporter& reporter,
                  dist::World& world = dist::alone());

}  // namespace corda::train
