// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/adapter/initialise.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "corda/core/error.h"
#include "corda/core/random.h"

namespace corda::adapter {

using core::concat;
using core::ShapeError;

namespace {

// Makes a number of a name (FNV-1a), the same on every machine.
std::uint64_t stream_of(const std::string& name) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

// Where singular values are rounding noise: n eps ||M||, the usual numerical-rank threshold.
double noise_floor(const linalg::Spectrum& u, std::int64_t rows, std::int64_t columns) {
  return static_cast<double>(std::max(rows, columns)) * std::numeric_limits<double>::epsilon() *
         u.total;
}

// Which components have weight; a NaN has none.
at::Tensor alive(const linalg::Spectrum& u, std::int64_t rows, std::int64_t columns) {
  return u.values > noise_floor(u, rows, columns);
}

at::Tensor to_fp32(const at::Tensor& tensor) { return tensor.to(at::kFloat).contiguous(); }

// Checks that the vectors have one number for each row of the weight (side "out") or for each
// column ("in").
void check_directions(const at::Tensor& weight, const linalg::Spectrum& found, double scale,
                      const char* side) {
  const bool matrices = weight.dim() == 2 && found.vectors.dim() == 2;
  const std::int64_t dimension = side == std::string("out") ? 0 : 1;
  if (matrices && weight.size(dimension) == found.vectors.size(0) && scale > 0) return;
  throw ShapeError(concat("the weight must be [out, in], the vectors [", side,
                          ", r] and the scale positive; they are ", weight.sizes(), ", ",
                          found.vectors.sizes(), " and ", scale));
}

}  // namespace

std::int64_t vanishing_components(const linalg::Spectrum& u, std::int64_t rows,
                                  std::int64_t columns) {
  return at::logical_not(alive(u, rows, columns)).sum().item<std::int64_t>();
}

LayerAdapter initialise_from_subspace(const at::Tensor& weight, const linalg::Spectrum& u,
                                      double scale) {
  check_directions(weight, u, scale, "out");
  const at::Tensor has_weight = alive(u, weight.size(0), weight.size(1));
  const at::Tensor s = at::where(has_weight, u.values, at::zeros_like(u.values));
  const at::Tensor inverse = at::where(has_weight, (s * scale).rsqrt(), at::zeros_like(s));
  const at::Tensor projected = at::mm(u.vectors.t(), weight.to(u.vectors.options()));
  LayerAdapter layer;
  layer.a0 = to_fp32(projected * inverse.unsqueeze(1));
  layer.b0 = to_fp32(u.vectors * (s / scale).sqrt().unsqueeze(0));
  layer.a = layer.a0.clone();
  layer.b = layer.b0.clone();
  return layer;
}

LayerAdapter initialise_dual(const linalg::Spectrum& directions, std::int64_t out_features) {
  const at::Tensor rows = directions.vectors.t();
  const at::Tensor norms = at::linalg_vector_norm(rows, 2, at::IntArrayRef{1}, /*keepdim=*/true);
  LayerAdapter layer;
  layer.a = to_fp32(rows / (norms * std::sqrt(3.0)));
  layer.b = at::zeros({out_features, layer.a.size(0)}, layer.a.options());
  return layer;
}

LayerAdapter initialise_eva(const linalg::Spectrum& directions, std::int64_t out_features) {
  LayerAdapter layer;
  layer.a = to_fp32(directions.vectors.t());
  layer.b = at::zeros({out_features, layer.a.size(0)}, layer.a.options());
  return layer;
}

LayerAdapter initialise_null(const at::Tensor& weight, const linalg::Spectrum& directions,
                             double scale) {
  check_directions(weight, directions, scale, "in");
  const at::Tensor u0 = directions.vectors;
  const at::Tensor within = at::mm(weight.to(u0.options()), u0);  // [out, r]
  // W U0 U0^T has its singular vectors and values, and A0 of one is A0 of the other times U0^T.
  LayerAdapter start = initialise_from_subspace(within, linalg::svd_top(within, u0.size(1)), scale);
  LayerAdapter layer;
  layer.a = to_fp32(at::mm(start.a0.to(at::kDouble), u0.t()));
  layer.b = at::zeros_like(start.b0);
  return layer;
}

LayerAdapter initialise_projected(const at::Tensor& weight, const linalg::Spectrum& directions,
                                  double scale) {
  check_directions(weight, directions, scale, "out");
  const at::Tensor& q = directions.vectors;
  LayerAdapter layer;
  layer.a0 = to_fp32(at::mm(q.t(), weight.to(q.options())));
  layer.b0 = to_fp32(q / scale);
  layer.a = layer.a0.clone();
  layer.b = layer.b0.clone();
  return layer;
}

LayerAdapter initialise_mica(const linalg::Spectrum& u, std::int64_t in_features) {
  LayerAdapter layer;
  layer.b = to_fp32(u.vectors);
  layer.a = at::zeros({layer.b.size(1), in_features}, layer.b.options());
  return layer;
}

LayerAdapter initialise_cloq(const at::Tensor& error, const linalg::Spectrum& u, double scale) {
  check_directions(error, u, scale, "out");
  const at::Tensor rows = at::mm(u.vectors.t(), error.to(u.vectors.options()));
  const at::Tensor length = at::linalg_vector_norm(rows, 2, at::IntArrayRef{1}) * std::sqrt(3.0);
  const at::Tensor has_weight = at::logical_and(alive(u, error.size(0), error.size(1)), length > 0);
  const at::Tensor zero = at::zeros_like(length);
  LayerAdapter layer;
  layer.a = to_fp32(rows * at::where(has_weight, length.reciprocal(), zero).unsqueeze(1));
  layer.b = to_fp32(u.vectors * at::where(has_weight, length / scale, zero));
  return layer;
}

LayerAdapter initialise_pissa(const at::Tensor& weight, std::int64_t rank, double scale) {
  LayerAdapter layer = initialise_from_subspace(weight, linalg::svd_top(weight, rank), scale);
  for (at::Tensor* tensor : {&layer.a, &layer.b, &layer.a0, &layer.b0}) *tensor = tensor->cpu();
  return layer;
}

LayerAdapter initialise_lora(std::int64_t out_features, std::int64_t in_features, std::int64_t rank,
                             std::uint64_t seed, const std::string& module) {
  if (out_features < 1 || in_features < 1 || rank < 1) {
    throw ShapeError(concat("an adapter's sizes must be positive; they are out ", out_features,
                            ", in ", in_features, ", rank ", rank));
  }
  core::Random random(core::derive_seed(seed, stream_of(module)));
  const double bound = 1.0 / std::sqrt(static_cast<double>(in_features));
  LayerAdapter layer;
  // Not at::zeros, which starts every thread of the machine for each of some hundred layers.
  layer.b = at::empty({out_features, rank}, at::kFloat);
  std::fill_n(layer.b.mutable_data_ptr<float>(), layer.b.numel(), 0.0F);
  layer.a = at::empty({rank, in_features}, at::kFloat);
  float* values = layer.a.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < layer.a.numel(); ++i)
    values[i] = static_cast<float>(bound * (2 * random.uniform() - 1));
  return layer;
}

at::Tensor dora_magnitude(const at::Tensor& weight) {
  return at::linalg_vector_norm(weight.to(at::kFloat), 2, at::IntArrayRef{1}).cpu();
}

}  // namespace corda::adapter
