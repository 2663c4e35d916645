// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/batch.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "corda/core/error.h"

namespace corda::model {

namespace {

template <typename T>
at::Tensor to_tensor(std::span<const T> values, at::ScalarType type, at::Device device) {
  const at::Tensor view =
      at::from_blob(const_cast<T*>(values.data()), {static_cast<std::int64_t>(values.size())},
                    c10::CppTypeToScalarType<T>::value);
  const bool pinned = device.is_cuda() && !values.empty();
  const at::Tensor host =
      at::empty({view.size(0)}, at::TensorOptions().dtype(type).pinned_memory(pinned));
  host.copy_(view);
  // The copy is from pinned memory, which its allocator keeps until the copy is over, so the host
  // does not wait.
  return pinned ? host.to(device, /*dtype=*/type, /*non_blocking=*/true) : host.to(device);
}

}  // namespace

Batch make_batch(std::span<const std::int32_t> ids, std::span<const std::int32_t> positions,
                 std::span<const std::int32_t> offsets, std::int64_t vocab_size, at::Device device,
                 std::span<const std::int64_t> target_rows,
                 std::span<const std::int64_t> target_ids) {
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= vocab_size) {
      throw core::ConfigError(core::concat("token id ", id,
                                           " is outside the model's vocabulary of ", vocab_size,
                                           "; the tokenizer must be the model's own"));
    }
  }
  Batch batch;
  batch.ids = to_tensor(ids, at::kLong, device);
  batch.positions = to_tensor(positions, at::kLong, device);
  batch.cu_seqlens = to_tensor(offsets, at::kInt, device);
  batch.target_rows = to_tensor(target_rows, at::kLong, device);
  batch.target_ids = to_tensor(target_ids, at::kLong, device);
  batch.offsets.assign(offsets.begin(), offsets.end());
  for (std::size_t i = 1; i < offsets.size(); ++i) {
    batch.longest = std::max<std::int64_t>(batch.longest, offsets[i] - offsets[i - 1]);
    const bool empty = offsets[i] == offsets[i - 1];
    batch.lengths.push_back(empty ? 0 : positions[static_cast<std::size_t>(offsets[i]) - 1] + 1);
  }
  return batch;
}

}  // namespace corda::model
