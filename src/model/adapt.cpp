// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/adapt.h"

#include <ATen/ATen.h>

#include <map>

#include "corda/core/error.h"

namespace corda::model {

using adapter::Adapter;
using adapter::LayerAdapter;
using core::concat;

namespace {

void check_shape(const Linear& linear, const LayerAdapter& layer) {
  const at::Tensor& weight = linear.weight;
  if (layer.a.size(1) == weight.size(1) && layer.b.size(0) == weight.size(0)) return;
  throw core::ShapeError(concat("the adapter's layer '", linear.name, "' is for a weight [",
                                layer.b.size(0), ", ", layer.a.size(1), "], the model's is [",
                                weight.size(0), ", ", weight.size(1), "]"));
}

// Calls `action` for every layer that has an adapter, checking that names and shapes fit the model;
// for the head too where it has a weight of its own and `with_head`.
void for_each_layer(Model& model, const Adapter& adapter, bool with_head,
                    const std::function<void(Linear&, const LayerAdapter&)>& action) {
  std::map<std::string, Linear*> by_name;
  for (Linear* linear : model.linear_layers()) by_name[linear->name] = linear;
  if (with_head && model.head.weight.defined()) by_name[model.head.name] = &model.head;
  for (const auto& [name, layer] : adapter.layers) {
    const auto found = by_name.find(name);
    if (found == by_name.end() && name == model.head.name) {
      throw core::FormatError(
          concat("the adapter changes '", name, "', the model's head, ",
                 with_head ? "which is tied to the embedding here" : "which corda cannot train"));
    }
    if (found == by_name.end())
      throw core::ShapeError(concat("the adapter has a layer '", name, "' that the model has not"));
    check_shape(*found->second, layer);
    action(*found->second, layer);
  }
}

at::Tensor leaf(const at::Tensor& value, at::Device device, bool trained) {
  return value.to(device, at::kFloat, /*non_blocking=*/false, /*copy=*/true)
      .set_requires_grad(trained);
}

void hold_equal_a_once(Model& model) {
  const Linear* before = nullptr;
  for (Linear* linear : model.linear_layers()) {
    if (before != nullptr && before->low_rank && linear->low_rank &&
        at::equal(before->low_rank->a, linear->low_rank->a))
      linear->low_rank->a = before->low_rank->a;
    before = linear;
  }
}

void add_magnitude(LowRank& low_rank, const at::Tensor& weight, const at::Tensor& magnitude,
                   bool trained) {
  low_rank.magnitude = leaf(magnitude, weight.device(), trained);
  low_rank.row_squares = row_squares(weight);
}

}  // namespace

void fold_adapter(Model& model, const Adapter& adapter) {
  const at::NoGradGuard no_grad;
  for_each_layer(
      model, adapter, /*with_head=*/true, [&](Linear& linear, const LayerAdapter& layer) {
        // Rounding the sum into the codes would lose it, and a matrix would take their memory
        // again.
        if (linear.packed) return attach_exported(linear, layer, adapter.scale_of(layer));
        const at::Device device = linear.device();
        LayerAdapter moved = layer;
        for (at::Tensor* tensor : {&moved.a, &moved.b, &moved.a0, &moved.b0, &moved.magnitude}) {
          if (tensor->defined()) *tensor = tensor->to(device);
        }
        const at::Tensor merged =
            adapter::merged_weight(linear.weight.to(at::kFloat), moved, adapter.scale_of(layer));
        linear.weight = merged.to(linear.weight.scalar_type());
      });
}

void attach_exported(Linear& linear, const LayerAdapter& layer, double scale) {
  check_shape(linear, layer);
  const adapter::Factors factors = adapter::exported_factors(layer);
  const at::Device device = linear.device();
  LowRank low_rank{.a = leaf(factors.a, device, false),
                   .b = leaf(factors.b, device, false),
                   .magnitude = {},
                   .scale = scale};
  if (layer.magnitude.defined()) add_magnitude(low_rank, weight_of(linear), layer.magnitude, false);
  linear.low_rank = std::move(low_rank);
}

void attach_trainable(Model& model, const Adapter& adapter) {
  const at::NoGradGuard no_grad;
  const auto attach = [&](Linear& linear, const LayerAdapter& layer) {
    const at::Device device = linear.device();
    const double scale = adapter.scale_of(layer);
    if (layer.subtracts_start() && linear.packed) {
      const at::ScalarType type = linear.weight.scalar_type();
      PackedLinear packed = *linear.packed;
      packed.start_a = layer.a0.to(device, type);
      packed.start_b = layer.b0.to(device, type);
      packed.start_scale = scale;
      linear.packed = std::make_shared<const PackedLinear>(std::move(packed));
    } else if (layer.subtracts_start()) {
      const at::Tensor start = at::mm(layer.b0.to(device), layer.a0.to(device));
      linear.weight =
          at::sub(linear.weight.to(at::kFloat), start, scale).to(linear.weight.scalar_type());
    }
    LowRank low_rank{.a = leaf(layer.a, device, adapter.train_a),
                     .b = leaf(layer.b, device, adapter.train_b),
                     .magnitude = {},
                     .scale = scale,
                     .dropout = adapter.dropout};
    if (layer.magnitude.defined())
      add_magnitude(low_rank, weight_of(linear), layer.magnitude, true);
    linear.low_rank = std::move(low_rank);
  };
  for_each_layer(model, adapter, /*with_head=*/false, attach);
  if (!adapter.train_a) hold_equal_a_once(model);
}

at::Tensor row_squares(const at::Tensor& weight) {
  const at::NoGradGuard no_grad;
  return at::linalg_vector_norm(weight, 2, {1}, false, at::kFloat).square();
}

}  // namespace corda::model
