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

// Memory for one product at a time. What is given has the content of its last use, and grows where
// it must.
class Float8Scratch {
 public:
  // For the input, in float8.
  kernels::ScaledRows rows(std::int64_t tokens, std::int64_t columns, at::Device device);
  static std::int64_t bytes(std::int64_t tokens, std::int64_t columns);

  // For a weight [out, in] that becomes float8 when it is needed: its codes, or the same transposed
  // [in, out]; the scales of its rows; and so many of its rows as they are made, in the type of
  // `like` and in float8.
  struct OnTheFly {
    kernels::ScaledRows weight;
    kernels::ScaledRows transposed;  // in the memory of the codes of `weight`, with scales of 1
    at::Tensor part;                 // [some rows, in]
    at::Tensor part_codes;
  };
  OnTheFly on_the_fly(std::int64_t out, std::int64_t in, at::TensorOptions like);
  // `element`: bytes of the type of `like`.
  static std::int64_t on_the_fly_bytes(std::int64_t out, std::int64_t in, std::int64_t element);

 private:
  at::Tensor codes_;
  at::Tensor scales_;
  at::Tensor weight_;
  at::Tensor weight_scales_;
  at::Tensor ones_;
  at::Tensor part_;
  at::Tensor part_codes_;
};

// W [out, in] of layers that share an input, one below the other: e4m3 codes with a scale a row of
// W. Tensor cores read both operands along the sum alone, so the codes are held once more,
// transposed. What is multiplied is quantised with a scale a token; where the sum is over the rows
// of W, whose scales then lie inside it, these go into the token's values. Both products are so of
// one W.
//
// Where a layer holds its weight in codes (or in parts on several GPUs), float8's own would undo
// what that saves: they are made in `scratch` for each product, a few rows at a time, so that only
// codes of 8 bits go through the GPU's memory.
class Float8Weight {
 public:
  // Whether W [out, in] is held so: whole tiles of tensor cores' kernels alone.
  static bool suits(std::int64_t out, std::int64_t in) { return out % 128 == 0 && in % 128 == 0; }
  // Whether it is made for each product.
  static bool is_on_the_fly(const std::vector<const model::Linear*>& linears);
  // Codes, both ways, and scales of one that is not.
  static std::int64_t bytes(std::int64_t out, std::int64_t in);

  // Quantises W where it is resident; the layers look at the codes from then on. Layers and
  // `scratch` must outlive this.
  Float8Weight(const std::vector<model::Linear*>& linears, Float8Scratch& scratch);

  // y [tokens, out] = scale x W^T, plus `added` [tokens, out] where it is defined, for x [tokens,
  // in].
  void multiply(const at::Tensor& y, const at::Tensor& x, const at::Tensor& added,
                double scale) const;
  // dx [tokens, in] = scale dy W for dy [tokens, out].
  void multiply_back(const at::Tensor& dx, const at::Tensor& dy, double scale) const;

 private:
  void hold();
  Float8Scratch::OnTheFly on_the_fly() const;
  // Calls act(first row, rows of W) until all have come.
  template <typename Act>
  void for_rows(const at::Tensor& part, Act act) const;
  kernels::ScaledRows quantised_now() const;
  struct Transposed {
    kernels::ScaledRows codes;  // [in, out], scales of 1
    at::Tensor row_scales;      // of W
  };
  Transposed transposed_now() const;

  Float8Scratch& scratch_;
  std::vector<model::Linear*> linears_;
  std::int64_t out_ = 0;
  std::int64_t in_ = 0;
  kernels::ScaledRows weight_;  // codes [out, in]; undefined where it is made
  Transposed transposed_;
};

}  // namespace corda::train
