// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Chebyshev-filtered subspace iteration for the largest eigenpairs (Rutishauser 1970; Zhou and Saad
// 2007), on the CPU and on the GPU alike.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

namespace corda::linalg {

// A symmetric positive semidefinite n x n operator A, fp64: a matrix, or a function.
class Operator {
 public:
  using Function = std::function<at::Tensor(const at::Tensor&)>;  // [n, b] -> [n, b]
  explicit Operator(at::Tensor matrix) : matrix_(std::move(matrix)) {}
  explicit Operator(Function function) : function_(std::move(function)) {}

  // Returns A y.
  at::Tensor operator()(const at::Tensor& y) const;
  // The next of the Chebyshev polynomials of X = scale A - shift I: 2 X now - before. May take the
  // memory of `before`.
  at::Tensor next(at::Tensor before, const at::Tensor& now, double scale, double shift = 1) const;

 private:
  at::Tensor matrix_;
  Function function_;
};

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

// Makes the Ritz pairs of what the block spans; nullopt where its columns are dependent.
std::optional<RitzPairs> rayleigh_ritz(const Operator& apply, const at::Tensor& block,
                                       std::int64_t r);

// How much the first r pairs miss of passing a proof (certificate.h) with these allowances [r] on
// each value, as far as residuals tell: at most 1 where they should pass.
double shortfall(const RitzPairs& pairs, const at::Tensor& allowances);

struct Filtered {
  at::Tensor block;         // T_d(2 (A - lowest) / (cut - lowest) - I) times the Ritz vectors
  std::int64_t degree = 0;  // d, of which the first product was there: the images
};

// Unwanted directions, with eigenvalues between `lowest` and the cut, stay while the r-th wanted
// one grows `gain` times. What fp64 can hold of the largest direction beside the smallest limits a
// filter, so it may be less. Ritz values of a `first` block, which saw one product, are too low,
// and the cut is raised. Nothing where the r-th value is not above `lowest`.
std::optional<Filtered> filter(const Operator& apply, const RitzPairs& pairs, double gain,
                               bool first, double lowest = 0);
// The gain that a filter is asked for with this shortfall.
double gain_for(double shortfall);

}  // namespace corda::linalg
