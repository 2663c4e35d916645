// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/train/estimate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <utility>

#include "corda/adapter/adapter_reader.h"
#include "corda/core/error.h"
#include "corda/data/load.h"
#include "corda/data/vocabulary.h"
#include "corda/kernels/cross_entropy.h"
#include "corda/linalg/device.h"
#include "corda/model/config.h"
#include "corda/tokenizer/tokenizer.h"
#include "train/choose_pass.h"
#include "train/flops.h"
#include "train/plan.h"
#include "train/run_data.h"
#include "train/shard_layout.h"
#include "train/sharded_base.h"
#include "train/trainable.h"

namespace corda::train {

using core::concat;

namespace {

// What the CUDA context and the code of the libraries take.
constexpr std::int64_t kContextBytes = std::int64_t{600} << 20;
constexpr std::int64_t kRecordsLookedAt = 1000;

// A run, the ranks of the layers of the adapter that it starts from, where it is there, and the
// model's files, where they are and hold layers in codes.
struct Run {
  TrainSettings settings;
  std::map<std::string, std::int64_t> ranks = {};
  std::optional<quant::ModelWeights> files = {};
};

// The model's files where some of their layers are quantised. A config.json alone says no bytes.
std::optional<quant::ModelWeights> quantised_files(const std::filesystem::path& model) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(model, error)) {
    if (entry.path().extension() != ".safetensors") continue;
    try {
      const quant::ModelWeights files{io::Checkpoint(model)};
      if (files.quantised_layers() > 0) return files;
    } catch (const core::Error&) {
      // The files are not all there, or not whole, yet; the run will say so.
    }
    break;
  }
  return std::nullopt;
}

Run with_adapter(TrainSettings settings) {
  if (settings.adapter.empty() || !std::filesystem::exists(settings.adapter))
    return {.settings = std::move(settings)};
  const adapter::AdapterReader reader(settings.adapter);
  settings.lora.rank = reader.header().rank;
  settings.lora.target_modules = reader.modules();
  if (settings.train_a == "auto") settings.train_a = reader.header().train_a ? "true" : "false";
  if (settings.train_b == "auto") settings.train_b = reader.header().train_b ? "true" : "false";
  Run run{.settings = std::move(settings)};
  for (const std::string& module : reader.modules()) run.ranks[module] = reader.rank_of(module);
  return run;
}

struct Counted {
  std::int64_t model_parameters = 0;
  std::int64_t model_bytes = 0;
  std::int64_t largest_block_bytes = 0;  // the largest block's layers that are adapted
  std::int64_t blocks_bytes = 0;         // those of all blocks; both as they are held
  std::int64_t trained_parameters = 0;
  std::int64_t adapter_parameters = 0;
  std::int64_t rank = 0;
  bool has_magnitude = false;
  bool in_codes = false;  // whether layers are held so
};

Counted count(model::Model& model, bool full) {
  Counted counted;
  for (const auto& [name, tensor] : model.parameters()) {
    counted.model_parameters += tensor->numel();
    counted.model_bytes += static_cast<std::int64_t>(tensor->nbytes());
  }
  for (model::Block& block : model.blocks) {
    std::int64_t bytes = 0;
    for (const model::Linear* linear : block.linear_layers()) {
      const auto dense = static_cast<std::int64_t>(linear->weight.nbytes());
      const bool in_codes = linear->packed && !linear->packed->values.defined();
      const std::int64_t held = in_codes ? linear->packed->codes.bytes() : dense;
      counted.model_bytes += held - dense;
      counted.in_codes |= in_codes;
      bytes += held;
    }
    counted.largest_block_bytes = std::max(counted.largest_block_bytes, bytes);
    counted.blocks_bytes += bytes;
  }
  if (full) counted.trained_parameters = counted.model_parameters;
  for (const model::Linear* linear : model.linear_layers()) {
    if (!linear->low_rank) continue;
    for (const at::Tensor* factor :
         {&linear->low_rank->a, &linear->low_rank->b, &linear->low_rank->magnitude}) {
      if (!factor->defined()) continue;
      counted.adapter_parameters += factor->numel();
      if (factor->requires_grad()) counted.trained_parameters += factor->numel();
    }
    counted.rank = std::max(counted.rank, linear->low_rank->a.size(0));
    counted.has_magnitude |= linear->low_rank->magnitude.defined();
  }
  return counted;
}

// What autograd over the kernels keeps of a token between forward and backward, in elements of
// the compute type: of a block the residual stream twice and its norms' outputs, q k v, the
// attention's output, gate and up, what they become; of adapters h, with a magnitude the outputs
// of the layers before it, with dropout the inputs after it.
std::int64_t kept_elements(const model::ModelDescription& m, const model::Block& block) {
  std::int64_t elements = 4 * m.hidden_size + m.attention.input.out_features() +
                          m.attention.query_features() + 3 * m.feed_forward.intermediate;
  for (const auto& site : block.sites) {
    for (const model::Linear& linear : site) {
      if (!linear.low_rank) continue;
      elements += linear.low_rank->a.size(0);
      if (linear.low_rank->magnitude.defined()) elements += linear.weight.size(0);
      if (linear.low_rank->dropout > 0) elements += linear.weight.size(1);
    }
  }
  return elements;
}

// What a pass by autograd takes: gradients, activations, a block's widest temporaries, the head.
// Where what is trained is `split` over ranks, the gradients are counted elsewhere, but for one
// weight's, which is there for a moment before it is added to its place; of the activations the
// blocks' inputs are kept, and one block's others.
std::int64_t autograd_pass_bytes(const model::Model& model, const Counted& counted,
                                 std::int64_t tokens, bool split) {
  const model::ModelDescription& m = model.config;
  const auto element = static_cast<std::int64_t>(c10::elementSize(model.compute));
  const std::int64_t temporary =
      tokens * (2 * m.feed_forward.intermediate + 3 * m.hidden_size) * element;
  const std::int64_t logits =
      std::min(tokens, kernels::logit_rows(m.vocab_size)) * m.vocab_size * 6;
  std::int64_t all = 0;
  std::int64_t most = 0;
  for (const model::Block& block : model.blocks) {
    const std::int64_t kept = tokens * kept_elements(m, block) * element;
    all += kept;
    most = std::max(most, kept);
  }
  if (!split) return 4 * counted.trained_parameters + all + std::max(temporary, logits);
  const std::int64_t inputs = tokens * (m.num_layers() + 1) * m.hidden_size * element;
  const std::int64_t of_head = logits + (4 + element) * m.vocab_size * m.hidden_size;
  const std::int64_t of_block =
      most + temporary + (4 + element) * m.feed_forward.intermediate * m.hidden_size;
  return inputs + std::max(of_block, of_head);
}

// Share of a card's peak that training reaches: measured from 0.1 to 8 billion parameters on one
// H100 and one H200 (docs/benchmarks.md); small models wait for launches and memory.
double utilisation(double parameters) { return 0.6 * parameters / (parameters + 0.5e9); }

struct Shape {
  LargestBatches largest;
  std::int64_t tokens_of_step = 0;
};

Shape batches_of(const TrainSettings& s, const std::optional<DataSize>& data) {
  const std::int64_t longest =
      data && data->longest > 0 ? std::min(data->longest, s.data.max_length) : s.data.max_length;
  const std::int64_t packed = s.data.packing ? s.optim.micro_batch_tokens : 0;
  const auto largest = [&](std::int64_t samples) {
    return std::max(longest, std::min(packed, longest * samples));
  };
  Shape shape;
  shape.largest = {.sample = longest, .micro_batch = largest(s.optim.batch_size), .evaluated = 0};
  const bool evaluates = !s.data.eval.empty() && s.eval.every > 0;
  if (evaluates) shape.largest.evaluated = std::max(longest, packed);
  const double mean = data && data->mean_tokens > 0
                          ? std::min(data->mean_tokens, static_cast<double>(s.data.max_length))
                          : static_cast<double>(longest);
  shape.tokens_of_step = static_cast<std::int64_t>(mean * static_cast<double>(s.optim.batch_size));
  return shape;
}

void add(Estimate& result, std::string what, std::int64_t bytes) {
  if (bytes > 0) result.parts.push_back({.what = std::move(what), .bytes = bytes});
}

// Weights, adapter and moments, the frozen base perhaps sharded.
void add_state(Estimate& result, const Run& run, const Counted& counted, int gpus) {
  const TrainSettings& s = run.settings;
  const bool shards = s.shard && gpus > 1;
  std::int64_t weights = counted.model_bytes;
  if (shards) weights += shard_bytes(counted.blocks_bytes, gpus) - counted.blocks_bytes;
  const std::string format = s.method == "full"              ? "fp32"
                             : asks_for_codes(s)             ? s.base
                             : counted.in_codes && run.files ? run.files->format()
                                                             : result.precision;
  add(result, concat("weights, ", format), weights);
  if (shards) add(result, "two whole blocks", 2 * counted.largest_block_bytes);
  add(result, "adapter, fp32", 4 * counted.adapter_parameters);
  add(result, "optimizer's two moments, fp32", 8 * counted.trained_parameters);
}

// What ShardedParameters and the optimizer hold of the trained model.
void add_split_state(Estimate& result, const ShardLayout& layout) {
  const std::string part = concat("a part of ", layout.ranks, ", fp32");
  add(result, concat("weights, ", part), layout.piece_bytes());
  add(result, concat("gradients, ", part), layout.piece_bytes());
  add(result, concat("optimizer's two moments, ", part), 2 * layout.piece_bytes());
  add(result, "whole blocks or head in use, with gradients, fp32", layout.room_bytes());
}

// Everything about memory, for these settings as they are.
Estimate memory_of(const Run& run, const Gpu& gpu, const model::ModelDescription& description,
                   const Shape& shape, int gpus, core::Reporter& reporter) {
  const TrainSettings& s = run.settings;
  const bool full = s.method == "full";
  const at::ScalarType compute = s.precision == "fp32" ? at::kFloat : at::kBFloat16;
  TrainSettings held = s;
  held.shard = s.shard && gpus > 1;  // one GPU holds everything
  model::Model model = trainable_shapes(held, description, compute, run.ranks,
                                        run.files ? &*run.files : nullptr, reporter);
  if (s.precision == "fp8") require_float8_layers(model);
  const Counted counted = count(model, full);
  Estimate result;
  result.gpu = gpu.name;
  result.gpu_bytes = gpu.memory_bytes;
  result.precision = s.precision == "fp8" ? "fp8" : compute == at::kFloat ? "fp32" : "bf16";
  result.rank = counted.rank;
  result.model_parameters = counted.model_parameters;
  result.trained_parameters = counted.trained_parameters;
  result.micro_batch_tokens = shape.largest.micro_batch;
  result.checkpoint_bytes = 12 * counted.trained_parameters;
  const bool splits = splits_parameters(s) && gpus > 1;
  if (splits) {
    add_split_state(result, shard_layout(model.config, gpus));
  } else {
    add_state(result, run, counted, gpus);
  }
  const std::int64_t beside = bytes_beside(model, shape.largest);
  std::int64_t before = kContextBytes + beside;
  for (const MemoryPart& part : result.parts) before += part.bytes;
  std::int64_t pass = 0;
  if (supports_low_rank_pass(model) && (s.gradients == "auto" || s.gradients == "fused")) {
    const auto allowed = allowed_options(s, shape.largest.micro_batch);
    const auto fits = [&](const LowRankPassOptions& options) {
      return before + low_rank_pass_bytes(model, options) <= gpu.memory_bytes;
    };
    const auto found = std::find_if(allowed.begin(), allowed.end(), fits);
    const LowRankPassOptions& chosen = found == allowed.end() ? allowed.back() : *found;
    pass = low_rank_pass_bytes(model, chosen);
    result.gradients = "fused";
    result.recompute = name_of(chosen.recompute);
    result.offload = chosen.offload ? "true" : "false";
  } else {
    pass = autograd_pass_bytes(model, counted, shape.largest.micro_batch, splits);
    result.gradients = s.gradients == "autograd" ? "autograd" : "kernels";
    result.recompute = name_of(splits ? Recompute::kBlock : Recompute::kNone);
    result.offload = "false";
  }
  add(result, concat(splits ? "" : "gradients, ", "activations and workspace of a micro-batch"),
      pass);
  add(result, "evaluation, and workspaces of libraries", beside);
  add(result, "CUDA context", kContextBytes);
  result.total_bytes = before + pass;
  result.fits = result.total_bytes <= gpu.memory_bytes;
  const auto tokens = static_cast<double>(shape.tokens_of_step);
  const double batches = std::max(1.0, tokens / static_cast<double>(shape.largest.micro_batch));
  result.flops_per_token = flops_of_step(model, tokens, tokens, batches) / tokens;
  if (gpu.flops > 0 && compute != at::kFloat) {
    result.tokens_per_second = gpu.flops *
                               utilisation(static_cast<double>(counted.model_parameters)) /
                               result.flops_per_token;
    // These factors were measured (docs/benchmarks.md): blocks that are computed again, products in
    // float8 by weights that are resident or are made of NF4 for each product, and DoRA's rows.
    if (result.recompute == "block") result.tokens_per_second *= 0.74;
    if (result.precision == "fp8") {
      const Float8Part part = float8_part(model);
      result.tokens_per_second /= 1 - part.share + part.share / (part.is_on_the_fly ? 1.24 : 1.36);
    }
    if (counted.has_magnitude) result.tokens_per_second *= 0.53;
    if (gpus > 1) result.tokens_per_second *= 0.97 * gpus;
  }
  return result;
}

// Changes that make it fit, the least costly first; each is tried beside those before it.
std::vector<std::string> advice_for(Run run, const Gpu& gpu,
                                    const model::ModelDescription& description,
                                    const std::optional<DataSize>& data, int gpus) {
  TrainSettings& s = run.settings;
  std::vector<std::string> advice;
  core::Reporter silent;
  const auto fits = [&] {
    return memory_of(run, gpu, description, batches_of(s, data), gpus, silent).fits;
  };
  if (method_can_be_fused(s) && s.gradients != "kernels" && s.gradients != "autograd" &&
      (s.recompute != "auto" || s.offload != "auto")) {
    s.recompute = s.offload = "auto";
    advice = {"recompute=auto", "offload=auto"};
    if (fits()) return advice;
  }
  if (gpus > 1 && !s.shard) {
    s.shard = true;
    if (s.method == "full" && s.recompute != "auto") {
      s.recompute = "auto";
      advice.emplace_back("recompute=auto");
    }
    advice.emplace_back("shard=true");
    if (fits()) return advice;
  }
  const std::int64_t longest = batches_of(s, data).largest.sample;
  while (s.data.packing && s.optim.micro_batch_tokens > longest) {
    s.optim.micro_batch_tokens = std::max(longest, s.optim.micro_batch_tokens / 2);
    if (fits()) {
      advice.push_back(concat("optim.micro_batch_tokens=", s.optim.micro_batch_tokens));
      return advice;
    }
  }
  advice.push_back(concat("optim.micro_batch_tokens=", s.optim.micro_batch_tokens));
  if (s.method == "full" || s.method == "dora") {
    s.method = "lora";
    s.gradients = "auto";
    advice.emplace_back("method=lora");
    if (fits()) return advice;
  }
  if (s.base == "auto" || s.base == "bf16") {
    s.base = "nf4";
    advice.emplace_back("base=nf4");
    if (fits()) return advice;
  }
  if (s.adapter.empty()) {
    std::int64_t rank = s.lora.rank > 0 ? s.lora.rank : 128;
    while (rank > 8) {
      s.lora.rank = rank /= 2;
      s.lora.alpha = 0;
      if (!fits()) continue;
      advice.push_back(concat("lora.rank=", rank));
      return advice;
    }
  }
  while (s.data.max_length > 128) {
    s.data.max_length /= 2;
    s.optim.micro_batch_tokens = std::min(s.optim.micro_batch_tokens, s.data.max_length);
    if (!fits()) continue;
    advice.push_back(concat("data.max_length=", s.data.max_length));
    return advice;
  }
  return {};
}

}  // namespace

std::optional<DataSize> measure_data(const TrainSettings& settings, core::Reporter& reporter) {
  DataSize size;
  struct Kind {  // what files of one use hold
    double samples = 0;
    double tokens = 0;
  };
  Kind trained, replayed;
  std::size_t files = 0;
  std::int64_t looked_at = 0;
  core::Reporter silent;
  try {
    const auto tokenizer = tokenizer::load_tokenizer(settings.model);
    const data::Vocabulary vocabulary{
        *tokenizer, model::read_model_config(settings.model, settings.assume_family).vocab_size};
    for (data::DataFile file : training_files(settings)) {
      data::EncodeSettings encode = encode_settings_of(settings);
      const std::int64_t records = data::count_records(file, encode.skip_bad, encode.skip_switch);
      if (file.count < 0 || file.count > kRecordsLookedAt) file.count = kRecordsLookedAt;
      const std::int64_t of_them = data::count_records(file, encode.skip_bad, encode.skip_switch);
      core::throw_if_stopped(reporter, "reading data");
      encode.skip_bad = true;
      const data::Dataset first = data::load_samples({file}, *tokenizer, encode, silent);
      data::require_rows(first.samples, vocabulary, {file}, encode);
      const double grown =
          static_cast<double>(records) / static_cast<double>(std::max<std::int64_t>(1, of_them));
      Kind& kind = files++ < settings.data.train.size() ? trained : replayed;
      kind.samples += grown * static_cast<double>(first.counts.samples);
      kind.tokens += grown * static_cast<double>(first.counts.tokens);
      size.longest = std::max(size.longest, first.counts.longest);
      looked_at += first.counts.samples;
    }
  } catch (const core::IoError&) {
    return std::nullopt;
  }
  // An epoch takes as many replayed samples as make up their share.
  double drawn = 0;
  if (replayed.samples > 0 && settings.data.replay.share < 1)
    drawn = trained.samples * settings.data.replay.share / (1 - settings.data.replay.share);
  size.samples = std::llround(trained.samples + drawn);
  if (looked_at == 0 || size.samples == 0) return std::nullopt;
  if (drawn > 0) replayed.tokens *= drawn / replayed.samples;
  size.mean_tokens = (trained.tokens + replayed.tokens) / static_cast<double>(size.samples);
  return size;
}

Estimate estimate(const TrainSettings& given, const Gpu& gpu, const std::optional<DataSize>& data,
                  core::Reporter& reporter, int gpus) {
  check(given);
  Run run = with_adapter(given);
  const TrainSettings& settings = run.settings;
  if (settings.precision == "fp8") require_float8_gpu(gpu.name, gpu.major, gpu.minor);
  run.files = quantised_files(settings.model);
  const model::ModelDescription description =
      model::read_model_config(settings.model, settings.assume_family);
  const Shape shape = batches_of(settings, data);
  Estimate result = memory_of(run, gpu, description, shape, gpus, reporter);
  if (!result.fits) result.advice = advice_for(run, gpu, description, data, gpus);
  if (data && data->samples > 0) {
    const StepCounts steps = step_counts(settings, data->samples);
    result.steps = steps.total;
    const double epochs = static_cast<double>(steps.total) /
                          static_cast<double>(std::max<std::int64_t>(1, steps.per_epoch));
    result.tokens = std::llround(epochs * static_cast<double>(data->samples) * data->mean_tokens);
    if (result.tokens_per_second > 0)
      result.seconds = static_cast<double>(result.tokens) / result.tokens_per_second;
  }
  return result;
}

}  // namespace corda::train
