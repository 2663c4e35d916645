// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Memory for activations whose number of rows changes from batch to batch.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

namespace corda::train {

// Rows of memory that are kept from batch to batch, so that batches of about one size allocate
// once.
class RowBuffer {
 public:
  RowBuffer() = default;
  // Room for `expected` rows is made at once, when the first are asked for.
  RowBuffer(std::int64_t columns, at::TensorOptions options, std::int64_t expected = 0)
      : columns_(columns),
        expected_(expected),
        options_(options),
        storage_(std::make_shared<at::Tensor>()) {}
  // Rows of this buffer's length in the memory of another, for contents that are never needed at
  // the same time.
  RowBuffer in_memory_of(const RowBuffer& other) const;
  // The first `tokens` rows [tokens, columns], or [tokens] where `columns` is 0; what they held is
  // lost where the memory has to grow.
  at::Tensor rows(std::int64_t tokens) const;

 private:
  std::int64_t columns_ = 0;
  std::int64_t expected_ = 0;
  at::TensorOptions options_;
  std::shared_ptr<at::Tensor> storage_;  // flat
};

}  // namespace corda::train
