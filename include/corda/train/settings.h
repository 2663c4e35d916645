// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Everything train.yaml can say.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "corda/core/settings.h"
#include "corda/data/sample.h"

namespace corda::train {

struct TrainSettings {
  std::string model;
  std::string assume_family = {};  // a model_type to read the model as; "": its own
  std::string method = "lora";     // corda | lora | pissa | dora | full
  std::string adapter;             // directory to start from; corda always, else optional
  std::string train_a = "auto";    // auto: what the adapter says | true | false
  std::string train_b = "auto";    // likewise
  struct Lora {
    std::int64_t rank = 0;    // 0: the given adapter's, else 128 or what fits
    double alpha = 0;         // 0: the given adapter's, else the rank
    bool use_rslora = false;  // of a new adapter: its scale is alpha / sqrt(rank)
    double dropout = -1;      // -1: the given adapter's, else 0
    // Empty: the given adapter's, else every linear layer of a block.
    std::vector<std::string> target_modules;
  } lora;
  struct Data {
    std::vector<data::DataFile> train;
    std::vector<data::DataFile> eval;
    struct Replay {
      std::vector<data::DataFile> files;
      double share = 0;  // of the samples of an epoch; the training files give the rest
    } replay;
    std::string template_name = "auto";
    std::string system;
    std::string date;  // YYYY-MM-DD; empty: of the run's start, and a continuation keeps it
    bool skip_bad = false;
    std::string train_on = "assistant";  // assistant | last | all
    std::int64_t max_length = 512;       // tokens of a sample
    std::string overlong = "truncate";   // what becomes of a longer one: truncate | drop
    std::string cache = "auto";          // auto | none | directory
    bool packing = true;
  } data;
  // The forgetting gauge (adapter::Forgetting) while the run goes on.
  struct Gauge {
    std::string covariance;  // directory of `corda calibrate` over knowledge; "": there is none
    std::int64_t every = 0;  // steps; 0: where evaluations come, and at the end
  } gauge;
  struct Optim {
    double lr = 2e-5;
    std::string schedule = "cosine";
    double warmup_ratio = 0.03;
    double weight_decay = 0;
    double decay_total = 0;  // the sum of rate x weight_decay over the run; 0: weight_decay is set
    std::string decay_metric = "plain";  // plain | knowledge
    double lora_plus_ratio = 1;          // rate of B over that of A
    std::vector<double> betas = {0.9, 0.999};
    double eps = 1e-8;
    double grad_clip = 1;  // largest global norm; 0: off
    double epochs = 1;
    std::int64_t max_steps = 0;              // 0: as many as the epochs give
    std::int64_t batch_size = 128;           // samples an optimizer step
    std::int64_t micro_batch_tokens = 8192;  // of one forward pass: bounds the memory
  } optim;
  struct Loss {
    std::string weighting = "none";  // none | eaft
    double eaft_power = 1;           // kernels::LinearCrossEntropyOptions::entropy_power
    double power() const { return weighting == "eaft" ? eaft_power : 0; }
  } loss;
  std::string precision = "auto";  // auto | bf16 | fp32
  std::string base = "auto";       // of the frozen layers: quant::base_names
  bool shard = false;              // splits the frozen layers over the ranks of a machine
  std::string gradients = "auto";  // auto | fused | kernels | autograd
  std::string recompute = "auto";  // auto | none | selective | block
  std::string offload = "auto";    // auto | true | false
  std::string graphs = "auto";     // auto | false
  // Directory of the fastest algorithms found, or none. `auto` is for the command line to fill in;
  // here it is none.
  std::string tuning_cache = "auto";
  struct Eval {
    std::int64_t every = 0;     // steps; 0: at the end only
    std::int64_t patience = 0;  // evaluations without a lower loss after which a run ends; 0: off
  } eval;
  struct Checkpoint {
    double minutes = 10;     // between checkpoints; 0: none by time
    std::int64_t every = 0;  // steps; 0: none by steps
    std::int64_t keep = 2;
    bool best = false;  // the result is that of the lowest evaluation loss; so it is with patience
  } checkpoint;
  std::vector<std::string> log = {"jsonl"};  // jsonl | tensorboard: what steps are written to
  std::int64_t seed = 42;
  std::string device = "auto";
  std::int64_t threads = 0;
  std::string out;
};

// The list behind train.yaml, --set, --help and config.resolved.yaml.
core::SettingsList settings_of(TrainSettings& settings);

// The files that samples are made of: those to train on, then those that are replayed.
std::vector<data::DataFile> training_files(const TrainSettings& settings);

// Throws ConfigError for settings that contradict each other (all of them together).
void check(const TrainSettings& settings);

}  // namespace corda::train
