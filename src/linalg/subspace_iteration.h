// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Chebyshev-filtered subspace iteration for the largest eigenpairs (Rutishauser 1970; Zhou and Saad
// 2007), on the CPU and on the GPU alike.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace corda::linalg {

// A symmetric positive semidefinite n x n operator: [n, b] -> [n, b], fp64.
using Operator = std::function<at::Tensor(const at::Tensor&)>;

// The Ritz pairs of a subspace of p >= r dimensions that aims at the r largest eigenvalues.
struct RitzPairs {
  at::Tensor vectors;  // [n, p], orthonormal
  at::Tensor images;   // [n, p], the operator applied to them
  at::Tensor values;   // [p], largest first
  // On the host:
  double largest = 0;   // the first value
  double smallest = 0;  // the r-th one
  double beyond = 0;    // the p-th one: near the eigenvalues that are not wanted
  double mean = 0;      // of the first r

  // The first r pairs.
  at::Tensor top_vectors(std::int64_t r) const { return vectors.narrow(1, 0, r); }
  at::Tensor top_images(std::int64_t r) const { return images.narrow(1, 0, r); }
  at::Tensor top_values(std::int64_t r) const { return values.narrow(0, 0, r); }
};

// Applies polynomials of the operator that are small on the unwanted eigenvalues and large on the
// wanted ones to a block of vectors, which are orthonormalised and turned into Ritz vectors only
// between polynomials. So nearly all work is products with a block of vectors.
class SubspaceIteration {
 public:
  // p = r + max(r / 2, 16) columns, n at most. Starts from scrambled vectors.
  SubspaceIteration(Operator apply, std::int64_t n, std::int64_t r, at::Device device);

  // The first Ritz pairs, or after another filter that is to enlarge the share of the r-th wanted
  // direction against the unwanted ones `gain` times. What fp64 can hold of the largest direction
  // beside the smallest limits a filter, so a small gain may be all that one round gives. False
  // where the block's columns became linearly dependent.
  bool start();
  bool filter(double gain);

  const RitzPairs& pairs() const { return pairs_; }
  // How much the first r pairs miss of passing `dominates` with these allowances [r] on each value,
  // as far as residuals tell: at most 1 where they should pass.
  double shortfall(const at::Tensor& allowances) const;
  // How often the operator was applied to the block.
  std::int64_t applications() const { return applications_; }

 private:
  at::Tensor apply(const at::Tensor& block);
  bool rayleigh_ritz(const at::Tensor& block);
  std::int64_t degree(double gain, double cut) const;

  Operator apply_;
  std::int64_t n_;
  std::int64_t r_;
  std::int64_t p_;
  at::Device device_;
  RitzPairs pairs_;
  std::int64_t applications_ = 0;
};

}  // namespace corda::linalg
