// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "support/random_model.h"

#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "corda/model/adapt.h"

namespace corda::testing {

namespace {

// Puts a block's layers into codes, as a model is loaded with base nf4 or fp8.
void pack(model::Block& block, quant::Base base) {
  for (model::Linear* linear : block.linear_layers()) {
    auto codes = base == quant::Base::kNf4 ? quant::quantise_nf4(linear->weight)
                                           : quant::quantise_float8(linear->weight);
    linear->weight = at::empty_like(linear->weight, at::kMeta);
    linear->packed =
        std::make_shared<const model::PackedLinear>(model::PackedLinear{.codes = std::move(codes)});
  }
}

}  // namespace

model::Model random_model(const model::ModelDescription& described,
                          const RandomModelOptions& options) {
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (const auto& [name, shape] : model::expected_tensors(described)) shapes[name] = shape;
  const at::TensorOptions like = at::TensorOptions().dtype(options.weights).device(options.device);
  const auto load = [&](const std::string& name) {
    const auto& shape = shapes.at(name);
    if (shape.size() == 2) return at::empty(shape, like).normal_(0, options.spread);
    const bool zero = name.ends_with(".bias") || described.norm.offset != 0;
    return zero ? at::zeros(shape, like) : at::ones(shape, like);
  };
  model::Model model = model::model_without_weights(
      described,
      {.device = options.device, .weights = options.weights, .compute = options.compute});
  model.embedding = load(described.prefix + "embed_tokens.weight");
  model.final_norm = load(described.prefix + "norm.weight");
  if (!described.tied) model.head.weight = load("lm_head.weight");
  for (std::int64_t i = 0; i < described.num_layers(); ++i) {
    model::Block& block = model.blocks[static_cast<std::size_t>(i)];
    block = model::make_block(described, i, load);
    if (options.base != quant::Base::kDense) pack(block, options.base);
    if (options.block_made) options.block_made(i, block);
  }
  return model;
}

void add_random_adapters(model::Model& model, const RandomAdapterOptions& options) {
  for (model::Block& block : model.blocks) {
    for (auto& site : block.sites) {
      for (model::Linear& linear : site) {
        const at::TensorOptions fp32 = at::TensorOptions().device(linear.device());
        model::LowRank low_rank;
        low_rank.scale = options.scale;
        low_rank.a = at::empty({options.rank, linear.weight.size(1)}, fp32).normal_(0, 0.01);
        low_rank.b = at::empty({linear.weight.size(0), options.rank}, fp32).normal_(0, 0.001);
        low_rank.a.set_requires_grad(options.train_a);
        low_rank.b.set_requires_grad(true);
        if (options.share_a && &linear != &site.front()) low_rank.a = site.front().low_rank->a;
        if (options.magnitude) {
          low_rank.row_squares = model::row_squares(model::weight_of(linear));
          low_rank.magnitude = low_rank.row_squares.sqrt().set_requires_grad(true);
        }
        linear.low_rank = std::move(low_rank);
      }
    }
  }
}

}  // namespace corda::testing
