// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/train/settings.h"

#include <algorithm>

#include "corda/core/error.h"
#include "corda/core/refuse_changed.h"
#include "corda/core/text.h"
#include "corda/data/mixture.h"
#include "corda/data/names.h"
#include "corda/model/config.h"
#include "corda/quant/quantise.h"
#include "corda/train/foreign_settings.h"
#include "train/choose_pass.h"
#include "train/recompute.h"

namespace corda::train {

using core::concat;
using core::ConfigNode;

namespace {

ConfigNode write_columns(const std::map<std::string, std::string>& columns) {
  ConfigNode node;
  node.kind = ConfigNode::Kind::kMap;
  for (const auto& [field, column] : columns)
    node.entries.emplace_back(field, ConfigNode::scalar(column));
  return node;
}

std::map<std::string, std::string> read_columns(const ConfigNode& node) {
  std::map<std::string, std::string> columns;
  if (node.kind != ConfigNode::Kind::kMap && node.kind != ConfigNode::Kind::kNull) {
    throw core::ConfigError(
        concat(node.place(), "'columns' must be a map such as {instruction: question}"));
  }
  for (const auto& [field, column] : node.entries) {
    if (column.kind != ConfigNode::Kind::kScalar)
      throw core::ConfigError(concat(column.place(), "the column of '", field, "' must be a name"));
    columns[field] = column.text;
  }
  return columns;
}

// What may stand in the map of one file.
core::SettingsList data_file_settings(data::DataFile& file, std::string& path) {
  core::SettingsList list;
  list.add("path", path, "file, pattern, or hf://datasets/org/name/file in the Hugging Face cache")
      .required();
  list.add("format", file.format, "of the records; auto: as their columns say");
  list.add(
      core::Setting{.name = "columns",
                    .help = "field of the format: column of the file",
                    .type = "map",
                    .choices = {},
                    .read = [&file](const ConfigNode& node) { file.columns = read_columns(node); },
                    .write = [&file] { return write_columns(file.columns); }});
  list.add("first", file.first, "records before this one are left out, from 0");
  list.add("count", file.count, "at most so many records; -1: all");
  list.add(
      "weight", file.weight,
      "share of this file in the samples of an epoch, in proportion to the other files'; 0: no "
      "mixture",
      {0, 1e9});
  list.add("source", file.source, "files of one source share one weight");
  return list;
}

// The same with the values that hold where the map says nothing.
std::vector<core::Setting> data_file_entries() {
  data::DataFile file;
  std::string path;
  std::vector<core::Setting> entries = data_file_settings(file, path).items();
  for (core::Setting& entry : entries) {
    entry.read = {};
    entry.write = [value = entry.write()] { return value; };
  }
  return entries;
}

// `{path: a.jsonl, format: alpaca, columns: {instruction: question}}`, or just a path, in the list
// `name`.
data::DataFile read_data_file(const std::string& name, const ConfigNode& node) {
  data::DataFile file;
  std::string path;
  if (node.kind == ConfigNode::Kind::kScalar)
    path = node.text;
  else
    data_file_settings(file, path).read(node);
  if (path.empty())
    throw core::ConfigError(concat(node.place(), "a file of '", name, "' needs a 'path'"));
  file.path = path;
  return file;
}

ConfigNode write_data_file(const data::DataFile& file) {
  data::DataFile written = file;
  std::string path = file.path.string();
  data::DataFile usual;
  std::string no_path;
  const core::SettingsList now = data_file_settings(written, path);
  const core::SettingsList defaults = data_file_settings(usual, no_path);
  ConfigNode node;
  node.kind = ConfigNode::Kind::kMap;
  for (const core::Setting& setting : now.items()) {
    const ConfigNode value = setting.write();
    const bool always = setting.name == "path" || setting.name == "format";
    if (always || core::to_yaml(value) != core::to_yaml(defaults.find(setting.name)->write()))
      node.entries.emplace_back(setting.name, value);
  }
  return node;
}

core::Setting data_files(std::string name, std::vector<data::DataFile>& member, std::string help) {
  core::Setting setting{.name = std::move(name),
                        .help = std::move(help),
                        .type = "list of files",
                        .choices = {},
                        .read = {},
                        .write = {}};
  setting.entries = data_file_entries();
  setting.read = [name = setting.name, &member](const ConfigNode& node) {
    std::vector<data::DataFile> files;
    if (node.kind == ConfigNode::Kind::kList) {
      for (const auto& item : node.items) files.push_back(read_data_file(name, item));
    } else if (node.kind != ConfigNode::Kind::kNull) {
      files.push_back(read_data_file(name, node));
    }
    member = std::move(files);
  };
  setting.write = [&member] {
    ConfigNode node;
    node.kind = ConfigNode::Kind::kList;
    for (const auto& file : member) node.items.push_back(write_data_file(file));
    return node;
  };
  return setting;
}

void check_log(const TrainSettings& s, std::vector<std::string>& problems) {
  const std::vector<std::string> known = {"jsonl", "tensorboard"};
  for (const auto& name : s.log) {
    if (std::ranges::find(known, name) == known.end()) {
      problems.push_back(concat("'log' must hold jsonl or tensorboard; it holds '", name, "'",
                                core::suggestion(name, known)));
    }
  }
  if (std::ranges::find(s.log, "jsonl") == s.log.end())
    problems.emplace_back("'log' must hold jsonl, which --resume and corda report read");
}

std::vector<std::string> auto_or(std::vector<std::string> names) {
  names.insert(names.begin(), "auto");
  return names;
}

}  // namespace

core::SettingsList settings_of(TrainSettings& s) {
  constexpr double kMostTokens = 1 << 30;  // of a batch; places in it are 32-bit numbers
  core::SettingsList list;
  list.explain(foreign_setting);
  list.add("model", s.model, core::kModelHelp).path(core::PathKind::kModel).required().free();
  model::add_assume_family(list, s.assume_family);
  list.add("method", s.method, "what is trained", {"corda", "lora", "pissa", "dora", "full"});
  list.add("adapter", s.adapter,
           "adapter directory to start from (corda: from `corda decompose`; else a LoRA or DoRA of "
           "PEFT's or ours)")
      .path(core::PathKind::kModel)
      .free();
  list.add("train_a", s.train_a,
           "train A too; auto: what the adapter says (modes dual and null keep A as it is)",
           {"auto", "true", "false"});
  list.add("train_b", s.train_b,
           "train B too; auto: what the adapter says (mode mica keeps B as it is)",
           {"auto", "true", "false"});
  list.add(
      "lora.rank", s.lora.rank,
      "rank of a new adapter; 0: a given adapter's, else 128 or what the narrowest layer allows",
      {0, 65536});
  list.add("lora.alpha", s.lora.alpha,
           "scale of a new adapter is alpha / rank; 0: a given adapter's, else the rank", {0, 1e9});
  list.add("lora.use_rslora", s.lora.use_rslora,
           "rank-stabilised LoRA: the scale of a new adapter is alpha / sqrt(rank)");
  list.add("lora.dropout", s.lora.dropout,
           "dropout on the adapter's input while training; -1: as a given adapter says, else 0",
           {-1, 0.999});
  list.add("lora.target_modules", s.lora.target_modules,
           "layers that get an adapter, by the last part of their names or their whole names; "
           "all-linear: every one of a block; empty: a given adapter's, else all-linear");
  list.add(data_files("data.train", s.data.train,
                      "training files: paths, or maps of path (a file, a pattern, or "
                      "hf://datasets/org/name/file in the Hugging Face cache), format, columns, "
                      "first, count, weight (of a mixture: its share of the samples of an epoch)"))
      .path(core::PathKind::kData)
      .required()
      .free();
  list.add(data_files("data.eval", s.data.eval,
                      "evaluation files, given as training files are; --resume takes others"))
      .path(core::PathKind::kData)
      .free();
  list.add(data_files("data.replay.path", s.data.replay.files,
                      "files of general text or tasks that are mixed in against forgetting, given "
                      "as training files are"))
      .path(core::PathKind::kData)
      .free();
  list.add("data.replay.share", s.data.replay.share,
           "their share of the samples of an epoch, in which each training sample still comes once",
           {0, 1});
  data::add_template_settings(list, "data.", s.data.template_name, s.data.system, s.data.date,
                              s.data.skip_bad);
  list.add("data.train_on", s.data.train_on,
           "what of a conversation is learnt: the assistant's turns, its last one, or all; a "
           "message's own 'train' goes before it",
           {"assistant", "last", "all"});
  list.add("data.max_length", s.data.max_length, "longest sample, tokens", {2, kMostTokens});
  list.add("data.overlong", s.data.overlong, "what happens to longer samples",
           {"truncate", "drop"});
  list.add("data.cache", s.data.cache,
           "directory for tokenised data, kept by content; none: in memory; auto: OUT/data-cache "
           "where the files have 256 MB or more")
      .path()
      .free();
  list.add("data.packing", s.data.packing,
           "several samples share one forward pass (they never see each other)");
  list.add("optim.lr", s.optim.lr, "learning rate at its peak", {0, 1e6});
  list.add("optim.schedule", s.optim.schedule, "how the rate falls after the warm-up",
           {"cosine", "linear", "constant"});
  list.add("optim.warmup_ratio", s.optim.warmup_ratio, "share of all steps in which the rate rises",
           {0, 1});
  list.add("optim.weight_decay", s.optim.weight_decay,
           "decoupled weight decay: a step takes rate x this of every weight", {0});
  list.add("optim.decay_total", s.optim.decay_total,
           "in place of weight_decay: the sum of rate x decay over all steps, so that weights "
           "without a gradient end at about exp(-this); 0: weight_decay says it",
           {0});
  list.add("optim.decay_metric", s.optim.decay_metric,
           "how the decay of B is shared out where A is not trained: plain, alike; knowledge, each "
           "column as its input is large on gauge.covariance, so that what decays is knowledge's "
           "change; its mean over a layer's columns stays",
           {"plain", "knowledge"});
  list.add("optim.lora_plus_ratio", s.optim.lora_plus_ratio,
           "LoRA+: the rate of B (and of a DoRA's magnitude) is optim.lr times this, that of A is "
           "optim.lr",
           {1e-6, 1e6});
  list.add("optim.betas", s.optim.betas, "AdamW's two decay rates", {0, 1});
  list.add("optim.eps", s.optim.eps, "AdamW's epsilon", {1e-38, 1e6});
  list.add("optim.grad_clip", s.optim.grad_clip, "largest gradient norm; 0: off", {0, 1e38});
  const auto length_is_free = [&s] {
    return s.optim.schedule == "constant" && s.optim.warmup_ratio == 0 && s.optim.decay_total == 0;
  };
  list.add(
          "optim.epochs", s.optim.epochs,
          "passes over the data; --resume takes another number only where the rate does not depend "
          "on it (schedule constant, no warm-up, no decay_total)",
          {0, 1e9})
      .free(length_is_free);
  list.add("optim.max_steps", s.optim.max_steps,
           "end after so many steps; 0: as the epochs give; --resume as for the epochs", {0, 1e12})
      .free(length_is_free);
  list.add("optim.batch_size", s.optim.batch_size, "samples an optimizer step", {1, 1 << 24});
  list.add("optim.micro_batch_tokens", s.optim.micro_batch_tokens,
           "tokens of one forward pass; bounds the memory, not the result (but which masks dropout "
           "draws)",
           {1, kMostTokens})
      .free([&s] { return s.method == "full" || s.lora.dropout <= 0; });
  list.add("loss.weighting", s.loss.weighting,
           "what the gradient makes of each target: none, all alike; eaft, less of those where the "
           "model is sure of its next token (EAFT). Losses are reported without it",
           {"none", "eaft"});
  list.add("loss.eaft_power", s.loss.eaft_power,
           "of eaft: the weight is (entropy of the 20 likeliest tokens / ln 20) to this power",
           {1e-3, 100});
  list.add(
      "precision", s.precision,
      "of activations and frozen weights, auto: bf16 on a GPU, fp32 on the CPU; fp8: bf16, but "
      "products with the blocks' frozen weights in float8, fused only, on a GPU of compute "
      "capability 8.9 or newer; adapters, optimizer state and, with method full, the weights "
      "are always fp32",
      {"auto", "bf16", "fp32", "fp8"});
  list.add("base", s.base,
           "how the frozen layers of the blocks are held: auto as the files hold them, bf16 not "
           "quantised (in `precision`), nf4 4 bits as bitsandbytes, fp8 float8 in tiles of 128; "
           "quantised while loading",
           quant::base_names());
  list.add(
          "shard", s.shard,
          "split what a GPU cannot hold: the frozen layers of the blocks over the GPUs of a "
          "machine; with method full weights, gradients and optimizer over all GPUs (ZeRO-3). Each "
          "holds its part, and gets a block's others while the block before is computed")
      .free();
  list.add(
      "gradients", s.gradients,
      "how they are computed: fused (LoRA without dropout: lora, pissa, corda), kernels (any "
      "method: autograd over the fused kernels), autograd (over plain operations); auto: fused "
      "where it can be, else kernels on a GPU and autograd on the CPU",
      {"auto", "fused", "kernels", "autograd"});
  list.add("recompute", s.recompute,
           "what the backward computes again to save memory, fused only: none, selective (gate and "
           "up), block (all but a block's input); auto: the fastest that fits the GPU; method full "
           "with shard always computes blocks again",
           auto_or(recompute_names()))
      .free();
  list.add("offload", s.offload,
           "keep the blocks' inputs in host memory until the backward, fused on a GPU only; auto: "
           "where nothing else fits",
           {"auto", "true", "false"})
      .free();
  list.add("graphs", s.graphs,
           "run small batches as CUDA graphs, fused on a GPU only; auto: where they were measured "
           "to be faster",
           {"auto", "false"})
      .free();
  list.add("tuning_cache", s.tuning_cache,
           "directory that keeps which algorithms are the fastest for matrix products, by GPU and "
           "versions of its libraries, so that the next run need not try them; none: nothing is "
           "kept; auto: corda in $XDG_CACHE_HOME or ~/.cache")
      .path()
      .free();
  list.add("eval.every", s.eval.every, "steps between evaluations; 0: only at the end", {0, 1e12})
      .free();
  list.add("eval.patience", s.eval.patience,
           "evaluations in a row without a lower loss than before, after which the run ends; the "
           "result is that of the lowest; 0: off",
           {0, 1e12})
      .free();
  list.add("gauge.covariance", s.gauge.covariance,
           "covariance directory of `corda calibrate` over what is to be kept: metrics.jsonl gets "
           "the forgetting gauge")
      .path()
      .free();
  list.add("gauge.every", s.gauge.every,
           "steps between readings of the gauge; 0: where evaluations come, and after the last "
           "planned step",
           {0, 1e12})
      .free();
  list.add("checkpoint.minutes", s.checkpoint.minutes,
           "minutes between checkpoints, written while training goes on; 0: none by time", {0, 1e9})
      .free();
  list.add("checkpoint.every", s.checkpoint.every,
           "steps between checkpoints; 0: none by steps. An interrupted run always writes one",
           {0, 1e12})
      .free();
  list.add("checkpoint.keep", s.checkpoint.keep, "checkpoints kept", {1, 1e12}).free();
  list.add("checkpoint.best", s.checkpoint.best,
           "the result is that of the step with the lowest evaluation loss, not the last one's")
      .free();
  list.add("log", s.log,
           "what every step is written to: jsonl (metrics.jsonl, always), tensorboard (event files "
           "in OUT, beside it)")
      .free();
  list.add("seed", s.seed, "of initialisation, shuffles and dropout", {0, 9e15});
  list.add("device", s.device, "auto, cpu, cuda or cuda:N").free();
  list.add("threads", s.threads, "CPU threads; 0: all", {0, 4096}).free();
  list.add("out", s.out, "run directory").path().required().free();
  return list;
}

std::vector<data::DataFile> training_files(const TrainSettings& settings) {
  std::vector<data::DataFile> files = settings.data.train;
  const auto& replayed = settings.data.replay.files;
  files.insert(files.end(), replayed.begin(), replayed.end());
  return files;
}

namespace {

// What is wrong with the settings that act against forgetting.
void check_levers(const TrainSettings& s, std::vector<std::string>& problems) {
  if (s.optim.weight_decay > 0 && s.optim.decay_total > 0) {
    problems.push_back(concat("'optim.weight_decay' (", s.optim.weight_decay,
                              ") and 'optim.decay_total' (", s.optim.decay_total,
                              ") both say how much decays; remove one"));
  }
  if (s.optim.lora_plus_ratio != 1 && s.method == "full")
    problems.emplace_back("'optim.lora_plus_ratio' is of an adapter's B; method full has none");
  const bool decays = s.optim.weight_decay > 0 || s.optim.decay_total > 0;
  if (s.optim.decay_metric == "knowledge" && (!decays || s.gauge.covariance.empty())) {
    problems.emplace_back(
        "'optim.decay_metric: knowledge' needs 'gauge.covariance', and 'optim.weight_decay' or "
        "'optim.decay_total' above 0");
  }
  if (s.shard && (s.method == "dora" || s.method == "full") && !s.gauge.covariance.empty()) {
    problems.push_back(concat("'gauge.covariance' of ",
                              s.method == "full" ? "method full" : "a DoRA",
                              " needs the weights, which 'shard' splits over ranks that do not "
                              "read the gauge; remove one of the two"));
  }
  if (s.lora.use_rslora && !s.adapter.empty()) {
    problems.push_back(concat("'lora.use_rslora' is of a new adapter; '", s.adapter,
                              "' has its own scale; remove the setting"));
  }
  const TrainSettings::Data::Replay& replay = s.data.replay;
  if (replay.files.empty() != (replay.share == 0))
    problems.emplace_back("'data.replay' needs both: a 'path', and a 'share' above 0");
  if (replay.share == 1)
    problems.emplace_back("'data.replay.share' is 1, which leaves nothing to the training files");
  for (const data::DataFile& file : replay.files) {
    if (file.weight > 0)
      problems.emplace_back("'weight' is of training files; 'data.replay.share' is that of replay");
  }
}

}  // namespace

void check(const TrainSettings& s) {
  std::vector<std::string> problems;
  check_log(s, problems);
  check_levers(s, problems);
  if (s.method == "corda" && s.adapter.empty()) {
    problems.emplace_back("method corda needs 'adapter': a directory made by `corda decompose`");
  }
  if (s.method == "full" && !s.adapter.empty())
    problems.emplace_back("method full trains the model itself; remove 'adapter'");
  if (s.method == "full" && asks_for_codes(s))
    problems.push_back(concat("'base: ", s.base,
                              "' holds weights that are not trained, but method "
                              "full trains them all; remove it"));
  if (splits_parameters(s) && s.recompute != "auto" && s.recompute != name_of(Recompute::kBlock)) {
    problems.push_back(concat(
        "'shard' with method full computes every block again in the backward, but 'recompute' is ",
        s.recompute, "; leave it at auto"));
  }
  if (s.method == "full" && (s.train_a == "false" || s.train_b == "false"))
    problems.push_back(
        concat(s.train_a == "false" ? "train_a" : "train_b", " has no meaning with method full"));
  if (s.train_a == "false" && s.train_b == "false")
    problems.emplace_back("train_a and train_b are both false, so nothing would be learnt");
  const bool starts_at_zero = s.adapter.empty() && (s.method == "lora" || s.method == "dora");
  if (s.train_b == "false" && starts_at_zero)
    problems.push_back(concat("a new adapter of method ", s.method,
                              " has a B of zeros, so with train_b false nothing would be learnt"));
  if ((s.gradients == "autograd" || s.gradients == "kernels") && asks_for_fused(s))
    problems.emplace_back(concat("'recompute', 'offload' and 'precision: fp8' need 'gradients' ",
                                 "fused, not ", s.gradients));
  const bool other_method = s.method == "full" || s.method == "dora";
  if (asks_for_fused(s) && (other_method || s.lora.dropout > 0))
    problems.push_back(fused_refusal(other_method ? concat("has method ", s.method)
                                                  : concat("has lora.dropout ", s.lora.dropout)));
  if (s.optim.betas.size() != 2)
    problems.push_back(
        concat("'optim.betas' must hold two numbers; it holds ", s.optim.betas.size()));
  for (const double beta : s.optim.betas) {
    if (beta >= 1) problems.emplace_back("'optim.betas' must be below 1");
  }
  if (s.optim.epochs <= 0 && s.optim.max_steps == 0)
    problems.emplace_back("'optim.epochs' must be positive");
  if (s.eval.patience > 0 && (s.eval.every == 0 || s.data.eval.empty()))
    problems.emplace_back("'eval.patience' needs evaluations: 'eval.every' and 'data.eval'");
  if (s.checkpoint.best && s.data.eval.empty())
    problems.emplace_back(
        "'checkpoint.best' needs 'data.eval', whose loss says which step is best");
  if (s.lora.dropout < 0 && s.lora.dropout != -1)
    problems.push_back(
        concat("'lora.dropout' must lie between 0 and 0.999; it is ", s.lora.dropout));
  try {
    data::check_mixture(s.data.train);
  } catch (const core::ConfigError& error) {
    problems.emplace_back(error.what());
  }
  const auto weighted = [](const data::DataFile& file) { return file.weight > 0; };
  if (std::any_of(s.data.eval.begin(), s.data.eval.end(), weighted))
    problems.emplace_back("'weight' is of training files; every file of 'data.eval' counts whole");
  if (!problems.empty()) throw core::ConfigError(core::join(problems, "\n"));
}

}  // namespace corda::train
