// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// One accumulated gradient of each method that trains through autograd, for comparing what stands
// in its graph.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "corda/adapter/initialise.h"
#include "corda/model/adapt.h"
#include "support/tiny_model.h"
#include "train/gradient_pass.h"
#include "train/step.h"

namespace corda::testing {

enum class Method { kDora, kLoraDropout, kDoraDropout, kFull, kFullTied };

inline std::string name_of(Method method) {
  switch (method) {
    case Method::kDora:
      return "Dora";
    case Method::kLoraDropout:
      return "LoraDropout";
    case Method::kDoraDropout:
      return "DoraDropout";
    case Method::kFull:
      return "Full";
    case Method::kFullTied:
      return "FullTied";
  }
  return "";
}

struct OperationsRun {
  std::filesystem::path directory;  // of the tiny model, which is written there
  Method method = Method::kDora;
  TinyModelOptions shape = {};
  at::Device device = at::kCPU;
  std::vector<data::PackedBatch> batches;
  std::vector<std::string> targets = {};  // ends of the adapted layers' names; empty: all
  double entropy_power = 0;

  struct Result {
    double loss = 0;
    std::vector<std::pair<std::string, at::Tensor>> gradients;
  };

  bool drops() const { return method == Method::kLoraDropout || method == Method::kDoraDropout; }
  bool full() const { return method == Method::kFull || method == Method::kFullTied; }

  // Full fine-tuning has its weights in fp32 whatever the compute dtype.
  Result gradients(at::ScalarType compute, model::Operations operations) const {
    TinyModelOptions options = shape;
    options.tied = method == Method::kFullTied;
    if (!std::filesystem::exists(directory)) write_tiny_model(directory, options);
    model::Model model = model::load_model(
        io::Checkpoint(directory), model::read_model_config(directory),
        {.device = device, .weights = full() ? at::kFloat : compute, .compute = compute});
    model.entropy_power = entropy_power;
    std::vector<std::pair<std::string, at::Tensor>> trained;
    if (full()) {
      for (auto& [name, tensor] : model.parameters())
        trained.emplace_back(name, tensor->set_requires_grad(true));
    } else {
      attach(model);
      for (const model::Linear* linear : model.linear_layers()) {
        if (!linear->low_rank) continue;
        trained.emplace_back(linear->name + ".A", linear->low_rank->a);
        trained.emplace_back(linear->name + ".B", linear->low_rank->b);
        if (linear->low_rank->magnitude.defined())
          trained.emplace_back(linear->name + ".m", linear->low_rank->magnitude);
      }
    }
    const auto pass = train::make_autograd_pass(model, operations);
    Result result{.loss = train::accumulate_gradients(*pass, batches, 5).loss(), .gradients = {}};
    for (const auto& [name, tensor] : trained) result.gradients.emplace_back(name, tensor.grad());
    return result;
  }

 private:
  bool is_target(const std::string& name) const {
    return targets.empty() ||
           std::any_of(targets.begin(), targets.end(),
                       [&](const std::string& end) { return name.ends_with(end); });
  }

  void attach(model::Model& model) const {
    constexpr std::int64_t kRank = 8;
    adapter::Adapter adapter;
    adapter.rank = kRank;
    adapter.alpha = 2.0 * kRank;
    adapter.dropout = method == Method::kDora ? 0 : 0.25;
    at::manual_seed(3);
    for (const model::Linear* linear : model.linear_layers()) {
      if (!is_target(linear->name)) continue;
      auto layer = adapter::initialise_lora(linear->weight.size(0), linear->weight.size(1), kRank,
                                            1, linear->name);
      layer.b = at::randn_like(layer.b) * 0.02;
      // The magnitude is not the norm of the rows, so that the factor is not one.
      if (method != Method::kLoraDropout)
        layer.magnitude = 1.1 * adapter::dora_magnitude(linear->weight.to(at::kFloat).cpu());
      adapter.layers[linear->name] = std::move(layer);
    }
    model::attach_trainable(model, adapter);
  }
};

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// || a - b || / || b || of each tensor.
inline std::vector<double> relative_errors(const NamedTensors& a, const NamedTensors& b) {
  std::vector<double> errors;
  EXPECT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    EXPECT_EQ(a[i].first, b[i].first);
    const at::Tensor& expected = b[i].second;
    errors.push_back(((a[i].second - expected).norm() / expected.norm()).item<double>());
  }
  return errors;
}

inline double largest(const std::vector<double>& values) {
  return *std::max_element(values.begin(), values.end());
}
inline double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace corda::testing
