// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "config_init.h"

#include <algorithm>
#include <optional>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/data/load.h"
#include "corda/decompose/mode.h"
#include "corda/model/config.h"
#include "corda/model/largest_rank.h"
#include "corda/tokenizer/tokenizer.h"
#include "user_paths.h"

namespace corda::tools {

using core::concat;

namespace {

constexpr std::int64_t kRecordsLookedAt = 500;
constexpr std::int64_t kMostRecordsCounted = 20'000;

// What a method's file says in the place of what another's does.
struct Method {
  const char* name;
  const char* method;  // of train.yaml
  const char* mode;    // of `corda decompose`; "": it needs no adapter
  const char* lr;
  const char* decay_total;  // "": no decay
  const char* what;
};

constexpr Method kMethods[] = {
    {"lora", "lora", "", "2.0e-4", "", "LoRA: a random A and a zero B beside every linear layer"},
    {"dora", "dora", "", "2.0e-4", "", "DoRA: a LoRA whose rows keep a length that is trained"},
    {"pissa", "pissa", "", "1.0e-4", "",
     "PiSSA: a LoRA that starts at the weight's largest components"},
    {"full", "full", "", "2.0e-5", "", "full fine-tuning: every weight"},
    {"kpa", "corda", "kpa", "4.0e-4", "",
     "CorDA, knowledge-preserved: adapts what the knowledge needs least"},
    {"ipa", "corda", "ipa", "1.0e-4", "",
     "CorDA, instruction-previewed: adapts what the task needs most"},
    {"dual", "corda", "dual", "2.0e-3", "1",
     "CorDA, dual: most task energy for each unit of knowledge energy"},
    {"null", "corda", "null", "4.0e-4", "",
     "LoRA-Null: A reads what the knowledge uses least, and stays as it is"},
    {"sc", "corda", "sc", "1.0e-4", "",
     "SC-LoRA: starts at the outputs with more task than knowledge"},
    {"eva", "corda", "eva", "2.0e-4", "", "EVA: A starts at what the task uses most"},
    {"milora", "corda", "milora", "2.0e-4", "",
     "MiLoRA: a LoRA that starts at the weight's smallest components"},
    {"mica", "corda", "mica", "4.0e-4", "",
     "MiCA: B writes along the weight's smallest components, and stays as it is"},
    {"cloq", "corda", "cloq", "2.0e-4", "",
     "CLoQ: over 4 bits, starts at what these lose most of in the task's outputs"},
};

const Method& method_of(const std::string& name) {
  for (const Method& method : kMethods)
    if (name == method.name) return method;
  throw core::ConfigError(concat("there is no method '", name, "' to begin with",
                                 core::suggestion(name, init_methods()), "; it is one of ",
                                 core::join(init_methods(), ", ")));
}

// What looking at the data told.
struct Sight {
  std::string format = "auto";
  std::string template_name = "auto";
  std::int64_t longest = 0;
  std::int64_t records = 0;
  std::int64_t bad = 0;  // of the first file's first records
};

std::optional<Sight> look_at(const std::vector<std::string>& paths, const std::string& model,
                             core::Reporter& reporter) {
  if (paths.empty()) return std::nullopt;
  Sight sight;
  std::vector<data::DataFile> files;
  for (const std::string& path : paths) {
    for (const std::string& file : paths_of(path, core::PathKind::kData))
      files.push_back({.path = file, .count = kRecordsLookedAt});
  }
  sight.format = data::detect_format(files.front(), /*skip_bad=*/true);
  if (model.empty()) return sight;
  const auto tokenizer = tokenizer::load_tokenizer(model);
  core::Reporter silent;
  const data::Dataset first = data::load_samples(
      {files.front()}, *tokenizer, {.model_directory = model, .skip_bad = true}, silent);
  sight.bad = first.counts.bad;
  sight.longest = first.counts.longest;
  sight.template_name = first.template_used.name;
  for (data::DataFile& file : files) {
    file.count = kMostRecordsCounted;
    sight.records += data::count_records(file, /*skip_bad=*/true);
    core::throw_if_stopped(reporter, "counting records");
  }
  return sight;
}

std::string quoted(const std::string& text) {
  const bool plain =
      !text.empty() && text.find_first_of(" :#{}[],&*?|<>=!%@'\"\\") == std::string::npos;
  if (plain) return text;
  return std::string(core::trim(core::to_yaml(core::ConfigNode::list({text})).substr(2)));
}

// One line, its comment in a column of its own.
std::string line(std::string text, const std::string& comment) {
  constexpr std::size_t kColumn = 50;
  text.resize(std::max(text.size() + 1, kColumn), ' ');
  return comment.empty() ? text.substr(0, text.find_last_not_of(' ') + 1) + "\n"
                         : concat(text, "# ", comment, "\n");
}

std::string data_items(const std::vector<std::string>& paths, const std::string& format) {
  std::vector<std::string> items;
  for (const auto& path : paths)
    items.push_back(concat("{path: ", quoted(path), ", format: ", format, "}"));
  return concat("[", core::join(items, ", "), "]");
}

std::int64_t max_length_for(std::int64_t longest, std::int64_t positions) {
  std::int64_t length = 256;
  while (length < longest) length *= 2;
  return positions > 0 ? std::min(length, positions) : length;
}

// The row of a CorDA method's mode.
const decompose::Mode& mode_of(const Method& method) {
  const auto modes = decompose::modes();
  return *std::find_if(modes.begin(), modes.end(),
                       [&](const auto& mode) { return mode.name == method.mode; });
}

// Refuses knowledge that the method does not ask about.
void check_knowledge(const InitSettings& s, const Method& method) {
  if (s.knowledge.empty()) return;
  using decompose::Input;
  const bool corda = std::string(method.method) == "corda";
  const Input input = corda ? mode_of(method).input : Input::kWeight;
  if (input == Input::kKnowledge || input == Input::kBoth) return;
  throw core::ConfigError(concat("--knowledge says what is to be kept, and ", method.name,
                                 " does not ask; leave it out"));
}

// The commands that make the adapter of a CorDA method.
std::string before(const InitSettings& s, const Method& method, std::int64_t rank) {
  const std::string model = s.model.empty() ? "MODEL" : s.model;
  const std::string task = s.data.empty() ? "task.jsonl" : s.data.front();
  const std::string facts = s.knowledge.empty() ? "facts.jsonl" : s.knowledge;
  const decompose::Input input = mode_of(method).input;
  std::string command =
      concat("corda decompose --model ", model, " --mode ", method.mode, " --rank ", rank);
  if (input != decompose::Input::kWeight)
    command += concat(" --data ", input == decompose::Input::kTask ? task : facts);
  if (input == decompose::Input::kBoth) command += " --task-data " + task;
  return concat("# First, once: ", command, " --out adapters/", method.name, "\n");
}

}  // namespace

std::vector<std::string> init_methods() {
  std::vector<std::string> names;
  for (const Method& method : kMethods) names.emplace_back(method.name);
  return names;
}

std::string initial_config(const InitSettings& s, core::Reporter& reporter) {
  const Method& method = method_of(s.method);
  check_knowledge(s, method);
  std::int64_t rank = 128;
  std::int64_t positions = 0;
  std::string model;
  std::string rank_reason = "more learn more and cost more; 32 to 128 are usual";
  if (!s.model.empty()) {
    model = paths_of(s.model, core::PathKind::kModel).front();
    const model::ModelDescription description = model::read_model_config(model);
    positions = description.max_positions;
    const std::int64_t narrowest = model::largest_rank(description);
    if (narrowest <= rank) {
      rank = std::max<std::int64_t>(1, narrowest / 2);
      rank_reason = concat("half of ", narrowest, ", the smaller side of the narrowest layer");
    }
  }
  const auto sight = look_at(s.data, model, reporter);
  const std::string name = method.name;
  const bool corda = std::string(method.method) == "corda";
  std::string text = concat("# ", method.what, ".\n");
  if (corda) text += before(s, method, rank);
  text += concat("# Then: corda train --config ", s.out.empty() ? "train.yaml" : s.out,
                 " (with --dry-run: look first)\n");
  text += concat(
      "# Every setting: corda train --settings; what one means: corda config --explain "
      "optim.lr\n");
  text +=
      line(concat("model: ", s.model.empty() ? "MODEL" : quoted(s.model)),
           s.model.empty() ? "fill in: a directory, or org/name in the Hugging Face cache" : "");
  text += line(concat("method: ", method.method), "");
  if (corda) {
    text += line(concat("adapter: adapters/", name), "rank, alpha and layers are the adapter's");
    if (mode_of(method).corrects_base)
      text += line("base: nf4", "in 4 bits, whose loss the adapter makes good");
  } else if (name != "full") {
    text += "lora:\n" + line(concat("  rank: ", rank), rank_reason);
    text += line(concat("  alpha: ", rank), "the update is scaled by alpha / rank");
  }
  text += "data:\n";
  const std::string format = sight ? sight->format : "auto";
  text +=
      line(concat("  train: ",
                  data_items(s.data.empty() ? std::vector<std::string>{"DATA"} : s.data, format)),
           s.data.empty() ? "fill in: JSONL, JSON, CSV, Parquet or text" : "");
  if (!s.eval_data.empty()) {
    text += line(concat("  eval: ", data_items(s.eval_data, format)),
                 "their loss is eval_loss in metrics.jsonl");
  }
  if (sight && sight->template_name != "none" && !model.empty()) {
    text += line("  template: auto", concat("here: ", sight->template_name,
                                            "; corda preview shows what samples become"));
  }
  if (sight && sight->bad > 0) {
    text += line("  # skip_bad: true",
                 concat(sight->bad, " of the first ", kRecordsLookedAt,
                        " records cannot be read: without this training stops there"));
  }
  const std::int64_t longest = sight ? sight->longest : 0;
  text += line(concat("  max_length: ", longest > 0 ? max_length_for(longest, positions) : 512),
               longest > 0 ? concat("tokens; the longest of the first ", kRecordsLookedAt,
                                    " records has ", longest)
                           : "tokens; longer samples are truncated, with a count");
  const std::int64_t records = sight ? sight->records : 0;
  const std::int64_t batch = records > 0 && records < 3000    ? 16
                             : records >= kMostRecordsCounted ? 128
                                                              : 32;
  text += "optim:\n" + line(concat("  lr: ", method.lr), "at its peak; the first thing to vary");
  if (const std::string decay = method.decay_total; !decay.empty())
    text += line("  decay_total: " + decay, "the sum of rate x decay over the run");
  text += line("  epochs: 1", "");
  text += line(concat("  batch_size: ", batch),
               records > 0 ? concat("samples a step, of ", records,
                                    records >= kMostRecordsCounted ? " or more" : "")
                           : "samples a step");
  text +=
      line("  micro_batch_tokens: 8192", "of one forward pass: bounds the memory, not the result");
  if (!s.eval_data.empty()) text += line("eval: {every: 100}", "steps");
  text += line("checkpoint: {minutes: 10, keep: 2}", "train --resume goes on from the newest");
  return text + line(concat("out: runs/", name), "");
}

}  // namespace corda::tools
