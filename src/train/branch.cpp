// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/branch.h"

#include <ATen/ATen.h>

namespace corda::train {

BlockScratch::BlockScratch(const ScratchColumns& columns, at::TensorOptions options,
                           std::int64_t tokens) {
  for (const std::int64_t width : columns) {
    buffers_.push_back(width == 0 ? RowBuffer() : RowBuffer(width, options, tokens));
  }
}

at::Tensor BlockScratch::rows(Scratch which, std::int64_t tokens, std::int64_t columns) const {
  return buffers_[static_cast<std::size_t>(which)].rows(tokens).narrow(1, 0, columns);
}

}  // namespace corda::train
