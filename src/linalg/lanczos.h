// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Block Lanczos iteration with full reorthogonalisation, on the CPU and on the GPU alike.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>

namespace corda::linalg {

// A symmetric positive semidefinite n x n operator: [n, b] -> [n, b], fp64.
using Operator = std::function<at::Tensor(const at::Tensor&)>;

// Numbers in (-1, 1) that look random, the same on every device: [rows, columns], fp64.
at::Tensor scrambled(std::int64_t rows, std::int64_t columns, std::int64_t seed, at::Device device);

// An orthonormal basis of the columns of z [n, b], b <= n; nothing where they are dependent to
// rounding.
std::optional<at::Tensor> orthonormal(const at::Tensor& z);

// Largest Ritz pairs.
struct RitzPairs {
  at::Tensor vectors;   // [n, r], orthonormal
  at::Tensor images;    // [n, r], the operator applied to them
  at::Tensor values;    // [r], largest first
  double residual = 0;  // largest ||A u - theta u||, relative to the r-th value
};

// Grows an orthonormal basis of the Krylov space of a scrambled block (Golub and Van Loan, section
// 10.3.6; block Gram-Schmidt twice).
class BlockLanczos {
 public:
  // `limit`: columns that the basis may have, at most n.
  BlockLanczos(Operator apply, std::int64_t n, std::int64_t block, std::int64_t limit,
               at::Device device);

  // Adds blocks until the basis has at least `columns` columns. False where the limit or an
  // invariant subspace stops it before.
  bool extend_to(std::int64_t columns);
  std::int64_t columns() const { return columns_; }
  // r <= columns().
  RitzPairs largest(std::int64_t r) const;

 private:
  bool add_block();

  Operator apply_;
  std::int64_t block_;
  std::int64_t limit_;
  at::Tensor basis_;   // [limit, n], one vector a row
  at::Tensor images_;  // [limit, n]
  std::int64_t columns_ = 0;
  bool exhausted_ = false;
};

}  // namespace corda::linalg
