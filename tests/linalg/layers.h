// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Synthetic layers, W and C, with the spectra that decompositions meet.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>
#include <ostream>
#include <tuple>
#include <vector>

namespace corda::testing {

struct LayerCase {
  const char* name;
  std::int64_t out;
  std::int64_t in;
  enum class Spectrum {
    kDecay,
    kFast,
    kFlat,
    kRepeatedBottom,
    kRepeatedTop
  } spectrum = Spectrum::kDecay;
  bool outlier = false;     // one direction of C with 1e4 times the rest's energy together
  std::int64_t rank = 0;    // of W; 0: full
  std::int64_t tokens = 0;  // that C was summed over; 0: C of full rank
};

inline void PrintTo(const LayerCase& c, std::ostream* out) { *out << c.name; }

inline at::Tensor orthogonal(std::int64_t n) {
  return std::get<0>(at::linalg_qr(at::randn({n, n}, at::kDouble)));
}

inline at::Tensor weight_of(const LayerCase& c) {
  using Spectrum = LayerCase::Spectrum;
  const std::int64_t k = std::min(c.out, c.in);
  if (c.spectrum == Spectrum::kFlat)
    return at::randn({c.out, c.in}, at::kDouble) / static_cast<double>(c.in);
  const double last = c.spectrum == Spectrum::kFast ? -4.5 : -2;
  at::Tensor s = at::logspace(0.5, last, k, 10.0, at::kDouble);
  if (c.spectrum == Spectrum::kRepeatedBottom) s.narrow(0, k - k / 4, k / 4).fill_(0.01);
  if (c.spectrum == Spectrum::kRepeatedTop) s.narrow(0, 0, k / 4).fill_(3);
  if (c.rank > 0) s.narrow(0, c.rank, k - c.rank).zero_();
  return at::mm(orthogonal(c.out).narrow(1, 0, k) * s, orthogonal(c.in).narrow(1, 0, k).t());
}

inline at::Tensor covariance_of(const LayerCase& c) {
  const std::int64_t n = c.in;
  if (c.spectrum == LayerCase::Spectrum::kRepeatedBottom ||
      c.spectrum == LayerCase::Spectrum::kRepeatedTop)
    return at::eye(n, at::kDouble);
  if (c.tokens > 0) {
    const at::Tensor x = at::randn({c.tokens, n}, at::kDouble);
    return at::mm(x.t(), x);
  }
  at::Tensor lambda = c.spectrum == LayerCase::Spectrum::kFlat
                          ? at::linspace(1, 2, n, at::kDouble)
                          : at::arange(1, n + 1, at::kDouble).pow(-1.2);
  if (c.outlier) lambda[0] = 1e4 * lambda.sum().item<double>();
  const at::Tensor q = orthogonal(n);
  return at::mm(q * lambda, q.t());
}

// ||U^T M||_F: what the chosen directions carry.
inline double energy(const at::Tensor& u, const at::Tensor& m) {
  return at::linalg_norm(at::mm(u.t(), m)).item<double>();
}

inline std::vector<LayerCase> layer_cases() {
  using S = LayerCase::Spectrum;
  return {{"square", 320, 320},
          {"tall", 640, 256},
          {"wide", 256, 640},
          {"outlier", 320, 320, S::kDecay, true},
          {"outlier_tall", 640, 256, S::kDecay, true},
          {"outlier_wide", 256, 640, S::kDecay, true},
          {"fast", 320, 320, S::kFast},
          {"fast_wide", 256, 640, S::kFast},
          {"flat", 320, 320, S::kFlat},
          {"flat_tall", 640, 256, S::kFlat},
          {"flat_wide", 256, 640, S::kFlat},
          {"repeated_bottom", 320, 320, S::kRepeatedBottom},
          {"repeated_bottom_wide", 256, 640, S::kRepeatedBottom},
          {"repeated_top", 320, 320, S::kRepeatedTop},
          {"repeated_top_tall", 640, 256, S::kRepeatedTop},
          {"few_tokens", 320, 320, S::kDecay, false, 0, 100},
          {"few_tokens_wide", 256, 640, S::kDecay, false, 0, 100},
          {"deficient", 320, 320, S::kDecay, false, 250},
          {"deficient_slightly", 320, 320, S::kDecay, false, 312},
          {"deficient_tall", 640, 256, S::kDecay, false, 200},
          {"deficient_wide", 256, 640, S::kDecay, false, 200}};
}

// Weights and covariances of fewer dimensions than an adapter of rank 16 takes.
inline std::vector<LayerCase> layers_below_the_rank() {
  using S = LayerCase::Spectrum;
  return {{"square", 320, 320, S::kDecay, false, 9},
          {"tall", 640, 256, S::kDecay, false, 9},
          {"wide", 256, 640, S::kDecay, false, 9},
          {"one", 320, 320, S::kDecay, false, 1},
          {"one_below", 320, 320, S::kDecay, false, 15},
          {"tie", 320, 320, S::kRepeatedTop, false, 9},
          {"tie_tall", 640, 256, S::kRepeatedTop, false, 9},
          {"tie_wide", 256, 640, S::kRepeatedTop, false, 9},
          {"fast_tall", 640, 256, S::kFast, false, 9},
          {"outlier", 320, 320, S::kDecay, true, 9},
          {"outlier_wide", 256, 640, S::kDecay, true, 9},
          {"few_tokens", 320, 320, S::kDecay, false, 9, 5},
          {"few_tokens_tall", 640, 256, S::kDecay, false, 9, 5},
          {"few_tokens_wide", 256, 640, S::kDecay, false, 9, 5}};
}

}  // namespace corda::testing
