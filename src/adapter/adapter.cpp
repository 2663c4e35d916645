// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/adapter/adapter.h"

#include <ATen/ATen.h>

#include "corda/core/error.h"

namespace corda::adapter {

using core::concat;

Factors exported_factors(const LayerAdapter& layer) {
  if (!layer.subtracts_start()) return {layer.a, layer.b};
  return {at::cat({layer.a, layer.a - layer.a0}, 0), at::cat({layer.b - layer.b0, layer.b0}, 1)};
}

at::Tensor update_of(const LayerAdapter& layer, double scale) {
  const at::Tensor a = layer.a.to(at::kFloat);
  const at::Tensor b = layer.b.to(at::kFloat);
  if (!layer.subtracts_start()) return at::mm(b, a).mul_(scale);
  // The differences are formed first: B A - B0 A0 would cancel nearly everything early in training.
  const at::Tensor a0 = layer.a0.to(at::kFloat);
  const at::Tensor b0 = layer.b0.to(at::kFloat);
  return at::addmm(at::mm(b - b0, a), b0, a - a0).mul_(scale);
}

at::Tensor merged_weight(const at::Tensor& weight, const LayerAdapter& layer, double scale,
                         double strength) {
  const bool rescaled = layer.magnitude.defined();
  const at::Tensor update = update_of(layer, rescaled ? scale : scale * strength);
  if (weight.sizes() != update.sizes()) {
    throw core::ShapeError(
        concat("the adapter changes a weight ", update.sizes(), ", the base has ", weight.sizes()));
  }
  const at::Tensor base = weight.to(at::kFloat);
  const at::Tensor merged = base + update;
  if (!rescaled) return merged;
  const at::Tensor norms = at::linalg_vector_norm(merged, 2, at::IntArrayRef{1});
  const at::Tensor factor =
      at::where(norms > 0, layer.magnitude.to(norms.options()) / norms, at::zeros_like(norms));
  const at::Tensor whole = merged * factor.unsqueeze(1);
  return strength == 1 ? whole : at::lerp(base, whole, strength);
}

void check_base(const Adapter& adapter, const std::string& fingerprint,
                const std::string& directory) {
  if (adapter.base_fingerprint.empty() || adapter.base_fingerprint == fingerprint) return;
  throw core::ConfigError(
      concat("the adapter was made for another base model: its base is '", adapter.base_name, "' (",
             adapter.base_fingerprint, "), '", directory, "' is ", fingerprint,
             "; give the model it was made for with --model, or decompose this one"));
}

}  // namespace corda::adapter
