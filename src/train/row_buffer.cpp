// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/row_buffer.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/round_up.h"

namespace corda::train {

namespace {

// Row counts are rounded up to this, so that batches that differ a little share their memory.
constexpr std::int64_t kRowStep = 256;

}  // namespace

RowBuffer RowBuffer::in_memory_of(const RowBuffer& other) const {
  RowBuffer result = *this;
  result.storage_ = other.storage_;
  return result;
}

at::Tensor RowBuffer::rows(std::int64_t tokens) const {
  at::Tensor& storage = *storage_;
  const std::int64_t width = std::max<std::int64_t>(columns_, 1);
  if (!storage.defined() || storage.numel() < tokens * width) {
    const std::int64_t rows = core::round_up(std::max(tokens, expected_), kRowStep);
    storage = at::Tensor();  // first, so that old and new do not stand side by side
    storage = at::empty({rows * width}, options_);
  }
  const at::Tensor used = storage.narrow(0, 0, tokens * width);
  return columns_ == 0 ? used : used.view({tokens, columns_});
}

}  // namespace corda::train
