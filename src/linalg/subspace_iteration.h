// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Chebyshev-filtered subspace iteration for the largest eigenpairs (Rutishauser 1970; Zhou and Saad
// 2007), on the CPU and on the GPU alike.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>

namespace corda::linalg {

// A symmetric positive semidefinite n x n operator: [n, b] -> [n, b], fp64.
using Operator = std::function<at::Tensor(const at::Tensor&)>;

// The Ritz pairs of a subspace of p >= r dimensions that aims at the r largest eigenvalues.
struct RitzPairs {
  std::int64_t r = 0;
  at::Tensor vectors;  // [n, p], orthonormal
  at::Tensor images;   // [n, p], the operator applied to them
  at::Tensor values;   // [p], largest first
  // On the host:
  double largest = 0;   // the first value
  double smallest = 0;  // the r-th one
  double beyond = 0;    // the p-th one: near the eigenvalues that are not wanted
  double sum = 0;       // of the first r

  // The first r.
  at::Tensor top_vectors() const { return vectors.narrow(1, 0, r); }
  at::Tensor top_images() const { return images.narrow(1, 0, r); }
  at::Tensor top_values() const { return values.narrow(0, 0, r); }
};

// Columns of a block that aims at r eigenvalues: r + max(r / 2, 16), n at most.
std::int64_t block_size(std::int64_t n, std::int64_t r);

// Nothing where the block's columns are dependent.
std::optional<RitzPairs> rayleigh_ritz(const Operator& apply, const at::Tensor& block,
                                       std::int64_t r);

// How much the first r pairs miss of passing a proof (certificate.h) with these allowances [r] on
// each value, as far as residuals tell: at most 1 where they should pass.
double shortfall(const RitzPairs& pairs, const at::Tensor& allowances);

// A block of vectors, T_d(2 A / cut - I) times the Ritz vectors: unwanted directions, with
// eigenvalues below the cut, stay while the r-th wanted one grows `gain` times. What fp64 can hold
// of the largest direction beside the smallest limits a filter, so it may be less. Ritz values of a
// `first` block, which saw one product, are too low: its cut is raised. Nothing where the values
// are not positive.
std::optional<at::Tensor> filter(const Operator& apply, const RitzPairs& pairs, double gain,
                                 bool first);
// The gain to ask for with this shortfall.
double gain_for(double shortfall);

}  // namespace corda::linalg
