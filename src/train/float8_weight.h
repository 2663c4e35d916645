// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The frozen weights of a site in float8, and their products on float8 tensor cores.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "corda/kernels/float8.h"
#include "corda/model/model.h"

namespace corda::train {

// Memory for the input of one product at a time, in float8.
class Float8Scratch {
 public:
  // Rows whose content is that of the last use. Grows where it must.
  kernels::ScaledRows rows(std::int64_t tokens, std::int64_t columns, at::Device device);
  static std::int64_t bytes(std::int64_t tokens, std::int64_t columns);

 private:
  at::Tensor codes_;
  at::Tensor scales_;
};

// W [out, in] of layers that share an input, one below the other: e4m3 codes with a scale a row of
// W. Tensor cores read both operands along the sum alone, so the codes are held once more, turned.
// What is multiplied is quantised with a scale a token; where the sum is over the rows of W, whose
// scales then lie inside it, these go into the token's values. Both products are so of one W.
class Float8Weight {
 public:
  // Whether W [out, in] is held so: whole tiles of tensor cores' kernels alone.
  static bool suits(std::int64_t out, std::int64_t in) { return out % 128 == 0 && in % 128 == 0; }
  // Codes, both ways, and scales.
  static std::int64_t bytes(std::int64_t out, std::int64_t in);

  // Quantises W, whatever holds it; the layers look at the codes from then on. `scratch` must
  // outlive this.
  Float8Weight(const std::vector<model::Linear*>& linears, Float8Scratch& scratch);

  // y [tokens, out] = scale x W^T, plus `added` [tokens, out] where it is defined, for x [tokens,
  // in].
  void multiply(const at::Tensor& y, const at::Tensor& x, const at::Tensor& added,
                double scale) const;
  // dx [tokens, in] = scale dy W for dy [tokens, out].
  void multiply_back(const at::Tensor& dx, const at::Tensor& dy, double scale) const;

 private:
  Float8Scratch& scratch_;
  kernels::ScaledRows weight_;  // codes [out, in]
  kernels::ScaledRows turned_;  // codes [in, out], scales of 1
};

}  // namespace corda::train
