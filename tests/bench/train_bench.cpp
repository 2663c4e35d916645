// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Times optimizer steps on a random model of a given shape, built in the GPU's memory: no
// files, no tokenizer. One JSON line a batch; with --profile where the time of a step goes. Started
// by torchrun or mpirun, every rank steps on the batch, gradients are summed, and rank 0 prints the
// rate of all.
#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <torch/csrc/autograd/profiler_kineto.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>

#include "corda/core/environment.h"
#include "corda/core/reporter.h"
#include "corda/dist/launch.h"
#include "corda/dist/world.h"
#include "corda/linalg/device.h"
#include "corda/quant/quantise.h"
#include "corda/train/optimizer.h"
#include "support/random_model.h"
#include "train/flops.h"
#include "train/gradient_pass.h"
#include "train/gradient_sums.h"
#include "train/low_rank_pass.h"
#include "train/recompute.h"
#include "train/sharded_base.h"
#include "train/step.h"

namespace {

using namespace corda;

struct Options {
  std::int64_t hidden = 4096, intermediate = 11008, layers = 32, heads = 32, kv_heads = 32;
  std::int64_t head_dim = 0, vocab = 32000, rank = 128;
  bool tied = false;
  bool frozen_a = false;
  bool shared_a = false;
  bool profile = false;
  bool offload = false;
  bool untuned = false;
  bool shard = false;
  bool float8 = false;
  std::string family = "llama";
  std::string config;  // a folder with a config.json, in place of the shape
  std::string graphs = "auto";
  std::string base = "bf16";
  std::string method = "lora";
  std::string gradients;  // empty: fused for lora, else kernels
  std::string recompute = "none";
  std::string device = "cuda";
  std::vector<std::string> batches = {"4x2048"};
  std::int64_t steps = 8, warmup = 3;
};

// "4x2048": four sequences of 2048 tokens; "r8192": sequences of 100 to 400 tokens, 8192 in all.
std::vector<std::int64_t> lengths_of(const std::string& batch) {
  std::vector<std::int64_t> lengths;
  if (batch.starts_with("r")) {
    std::mt19937 random(1);
    std::int64_t left = std::stoll(batch.substr(1));
    while (left >= 100) {
      lengths.push_back(std::min<std::int64_t>(left, 100 + static_cast<int>(random() % 301)));
      left -= lengths.back();
    }
    return lengths;
  }
  const auto cross = batch.find('x');
  lengths.assign(std::stoul(batch.substr(0, cross)), std::stoll(batch.substr(cross + 1)));
  return lengths;
}

model::ModelDescription described(const Options& o) {
  if (!o.config.empty()) return model::read_model_config(o.config);
  const nlohmann::json config = {{"model_type", o.family},
                                 {"vocab_size", o.vocab},
                                 {"hidden_size", o.hidden},
                                 {"intermediate_size", o.intermediate},
                                 {"num_hidden_layers", o.layers},
                                 {"num_attention_heads", o.heads},
                                 {"num_key_value_heads", o.kv_heads},
                                 {"head_dim", o.head_dim > 0 ? o.head_dim : o.hidden / o.heads},
                                 {"max_position_embeddings", 4096},
                                 {"sliding_window", nullptr},
                                 {"tie_word_embeddings", o.tied}};
  return model::parse_model_config(config.dump(), "the bench's options");
}

// Full fine-tuning has its weights in fp32.
model::Model random_model(const Options& o, at::Device device, at::ScalarType compute,
                          dist::World& world) {
  const auto sharded = o.shard ? std::make_shared<train::ShardedBase>(world) : nullptr;
  testing::RandomModelOptions options{.device = device,
                                      .weights = o.method == "full" ? at::kFloat : compute,
                                      .compute = compute,
                                      .base = quant::base_named(o.base)};
  if (sharded) {
    options.block_made = [&](std::int64_t layer, model::Block& block) {
      sharded->take(layer, block);
    };
  }
  model::Model model = testing::random_model(described(o), options);
  if (sharded) sharded->open();
  if (o.method != "full") {
    testing::add_random_adapters(model, {.rank = o.rank,
                                         .train_a = !o.frozen_a && !o.shared_a,
                                         .share_a = o.shared_a,
                                         .magnitude = o.method == "dora"});
  }
  return model;
}

// Every token but the first of a sequence is a target.
data::PackedBatch random_batch(const std::vector<std::int64_t>& lengths, std::int64_t vocab) {
  std::mt19937 random(7);
  data::PackedBatch batch;
  for (const std::int64_t length : lengths) {
    data::Sample sample;
    for (std::int64_t t = 0; t < length; ++t)
      sample.ids.push_back(static_cast<data::TokenId>(random() % static_cast<unsigned>(vocab)));
    sample.supervised.assign(sample.ids.size(), 1);
    data::append(batch, sample);
  }
  return batch;
}

std::string kind_of(const std::string& kernel) {
  const std::vector<std::pair<const char*, const char*>> kinds = {
      {"rms_norm", "RMS norm"},      {"rotate", "rotary"},
      {"gather_rotated", "rotary"},  {"glu", "SwiGLU"},
      {"embedding", "embedding"},    {"scale_columns", "DoRA"},
      {"cross_entropy", "loss"},     {"adam", "optimizer"},
      {"Adam", "optimizer"},         {"fmha", "attention"},
      {"flash", "attention"},        {"cudnn", "attention"},
      {"LpNorm", "gradient norm"},   {"gemm", "matrix products"},
      {"nvjet", "matrix products"},  {"cutlass", "matrix products"},
      {"splitK", "matrix products"}, {"copy_windows", "copies"},
      {"Memcpy", "copies"},          {"Memset", "copies"}};
  for (const auto& [part, kind] : kinds) {
    if (kernel.find(part) != std::string::npos) return kind;
  }
  return "other";
}

// Device time of one step by kind of kernel.
template <typename Step>
void print_profile(Step&& step) {
  namespace profiler = torch::autograd::profiler;
  const torch::profiler::impl::ProfilerConfig config(torch::profiler::impl::ProfilerState::KINETO);
  const std::set<torch::profiler::impl::ActivityType> activities = {
      torch::profiler::impl::ActivityType::CPU, torch::profiler::impl::ActivityType::CUDA};
  profiler::prepareProfiler(config, activities);
  profiler::enableProfiler(config, activities);
  const auto begin = std::chrono::steady_clock::now();
  step();
  c10::cuda::device_synchronize();
  const double wall =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  const auto result = profiler::disableProfiler();
  std::map<std::string, std::pair<double, int>> kinds;
  std::map<std::string, std::pair<double, int>> kernels;
  double busy = 0;
  for (const auto& event : result->events()) {
    if (event.deviceType() != c10::DeviceType::CUDA) continue;
    const double ms = static_cast<double>(event.durationNs()) * 1e-6;
    busy += ms;
    for (auto& [table, key] : {std::pair{&kinds, kind_of(event.name())},
                               std::pair{&kernels, event.name().substr(0, 100)}}) {
      (*table)[key].first += ms;
      ++(*table)[key].second;
    }
  }
  std::printf("profile: one step, %.1f ms wall, %.1f ms of kernels\n", wall, busy);
  for (const auto* table : {&kinds, &kernels}) {
    std::vector<std::pair<double, std::string>> sorted;
    for (const auto& [name, entry] : *table)
      sorted.emplace_back(entry.first, name + "  x" + std::to_string(entry.second));
    std::sort(sorted.rbegin(), sorted.rend());
    for (std::size_t i = 0; i < std::min<std::size_t>(sorted.size(), 24); ++i)
      std::printf("  %8.2f ms %5.1f %%  %s\n", sorted[i].first, 100 * sorted[i].first / busy,
                  sorted[i].second.c_str());
  }
}

void run(const Options& o, dist::World& world) {
  const at::Device device = world.device_of(o.device);
  const at::ScalarType type = device.is_cuda() ? at::kBFloat16 : at::kFloat;
  at::manual_seed(5);  // of a sharded base every rank makes the same
  model::Model model = random_model(o, device, type, world);
  std::vector<std::pair<std::string, at::Tensor>> parameters;
  for (model::Linear* linear : model.linear_layers()) {
    if (!linear->low_rank) continue;
    if (!o.frozen_a) parameters.emplace_back(linear->name + ".A", linear->low_rank->a);
    parameters.emplace_back(linear->name + ".B", linear->low_rank->b);
    if (linear->low_rank->magnitude.defined())
      parameters.emplace_back(linear->name + ".m", linear->low_rank->magnitude);
  }
  if (o.method == "full")
    for (auto& [name, tensor] : model.parameters())
      parameters.emplace_back(name, tensor->set_requires_grad(true));
  train::AdamW optimizer(std::move(parameters), {});
  const train::Recompute recompute = train::recompute_named(o.recompute);
  for (const std::string& name : o.batches) {
    const std::vector<data::PackedBatch> batches = {
        random_batch(lengths_of(name), model.config.vocab_size)};
    const train::LowRankPassOptions options{
        .recompute = recompute,
        .offload = o.offload,
        .tokens = batches.front().tokens(),
        .tuning = o.untuned ? train::Tuning::kOff : train::Tuning::kTimed,
        .graphs = o.graphs == "never"    ? train::Graphs::kNever
                  : o.graphs == "always" ? train::Graphs::kAlways
                                         : train::Graphs::kAuto,
        .float8 = o.float8};
    const auto pass = o.gradients == "fused"
                          ? train::make_low_rank_pass(model, options)
                          : train::make_autograd_pass(model, o.gradients == "kernels"
                                                                 ? model::Operations::kKernels
                                                                 : model::Operations::kAten);
    if (device.is_cuda()) {
      c10::cuda::CUDACachingAllocator::emptyCache();
      c10::cuda::CUDACachingAllocator::resetPeakStats(device.index());
    }
    std::optional<train::GradientSums> sums;
    if (!world.is_alone()) sums.emplace(world, *pass, optimizer.parameters());
    double loss = 0;
    const auto step = [&] {
      const train::StepGradients gradients =
          train::accumulate_gradients(*pass, train::all_of(batches), 0, sums ? &*sums : nullptr);
      const at::Tensor norm = optimizer.step(1e-5, 1.0);
      optimizer.clear_gradients();
      loss = gradients.loss();
    };
    std::vector<double> seconds;
    for (std::int64_t i = 0; i < o.warmup + o.steps; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      step();
      if (device.is_cuda()) c10::cuda::device_synchronize();
      seconds.push_back(
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    if (!world.is_first()) {
      if (o.profile) step();  // the one that rank 0 profiles
      continue;
    }
    const double first = seconds.front();
    std::sort(seconds.begin() + o.warmup, seconds.end());
    const double median = seconds[static_cast<std::size_t>(o.warmup + o.steps / 2)];
    const auto tokens = batches.front().tokens();
    std::printf(
        "{\"batch\": \"%s\", \"tokens\": %ld, \"method\": \"%s\", \"base\": \"%s%s\", "
        "\"gradients\": "
        "\"%s\", "
        "\"recompute\": \"%s\", "
        "\"tuned\": %s, \"graphs\": \"%s\", \"ranks\": %d, "
        "\"tokens_per_second\": %.0f, \"step_ms\": %.1f, \"first_step_ms\": %.0f, "
        "\"peak_gb\": %.1f, \"tflops\": %.0f, \"loss\": %.4f}\n",
        name.c_str(), static_cast<long>(tokens), o.method.c_str(), o.base.c_str(),
        o.shard    ? " sharded"
        : o.float8 ? ", products in fp8"
                   : "",
        o.gradients.c_str(), o.recompute.c_str(), o.untuned ? "false" : "true", o.graphs.c_str(),
        world.size(), static_cast<double>(tokens * world.size()) / median, median * 1e3,
        first * 1e3, static_cast<double>(linalg::peak_memory_bytes(device)) / 1e9,
        train::flops_of_step(model, static_cast<double>(tokens),
                             static_cast<double>(batches.front().targets()),
                             /*micro_batches=*/1) /
            median * 1e-12,
        loss);
    if (o.profile && device.is_cuda()) print_profile(step);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app("Times training steps on a random model");
  app.add_option("--family", o.family, "a model_type; the shape is given by the options below");
  app.add_option("--config", o.config, "a folder whose config.json gives family and shape");
  app.add_option("--hidden", o.hidden);
  app.add_option("--intermediate", o.intermediate);
  app.add_option("--layers", o.layers);
  app.add_option("--heads", o.heads);
  app.add_option("--kv-heads", o.kv_heads);
  app.add_option("--head-dim", o.head_dim, "0: hidden / heads");
  app.add_option("--vocab", o.vocab);
  app.add_option("--rank", o.rank);
  app.add_flag("--tied", o.tied, "the head is the embedding");
  app.add_flag("--frozen-a", o.frozen_a, "A is not trained");
  app.add_flag("--shared-a", o.shared_a,
               "A is not trained, and one for layers of one input, as in mode dual");
  app.add_option("--method", o.method)->check(CLI::IsMember({"lora", "dora", "full"}));
  app.add_option("--gradients", o.gradients, "default: fused for lora, else kernels")
      ->check(CLI::IsMember({"fused", "kernels", "autograd"}));
  app.add_option("--recompute", o.recompute)->check(CLI::IsMember(train::recompute_names()));
  app.add_option("--base", o.base, "what the frozen layers are held in")
      ->check(CLI::IsMember({"bf16", "nf4", "fp8"}));
  app.add_flag("--offload", o.offload, "blocks' inputs in host memory");
  app.add_flag("--shard", o.shard, "the frozen layers are split over the ranks");
  app.add_flag("--float8", o.float8, "products with the frozen layers in float8");
  app.add_flag("--untuned", o.untuned, "cuBLASLt's first proposal for every product");
  app.add_option("--graphs", o.graphs)->check(CLI::IsMember({"auto", "never", "always"}));
  app.add_option("--batches", o.batches, "4x2048, or r8192: mixed lengths")->delimiter(',');
  app.add_option("--steps", o.steps);
  app.add_option("--warmup", o.warmup);
  app.add_option("--device", o.device);
  app.add_flag("--profile", o.profile, "device time of one more step by kernel");
  CLI11_PARSE(app, argc, argv);
  o.frozen_a = o.frozen_a || o.shared_a;
  if (o.gradients.empty()) o.gradients = o.method == "lora" ? "fused" : "kernels";
  const auto launch = dist::launch_of(core::environment_variable);
  const core::Reporter quiet;
  const auto world = launch ? dist::join(*launch, quiet) : nullptr;
  run(o, world ? *world : dist::alone());
  return 0;
}
