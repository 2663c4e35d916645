// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/upload.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <cstring>
#include <future>
#include <mutex>
#include <optional>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/parallel.h"

namespace corda::linalg {

namespace {

// The size of each of the two staging buffers. Smaller ones save pinned memory, but then starting
// the copies and waiting for the readers takes time that counts.
constexpr std::int64_t kStagingBytes = std::int64_t{32} << 20;
// One thread copies out of the page cache more slowly than a GPU takes it.
constexpr std::int64_t kReaders = 4;

std::int64_t row_bytes(const HostRows& rows) {
  std::int64_t elements = 1;
  for (std::size_t i = 1; i < rows.shape.size(); ++i) elements *= rows.shape[i];
  return elements * static_cast<std::int64_t>(c10::elementSize(rows.type));
}

// Fetches rows [begin, end); each reader takes a part of them.
void fill(const HostRows& rows, std::int64_t begin, std::int64_t end, std::byte* to) {
  const std::int64_t part = (end - begin + kReaders - 1) / kReaders;
  core::parallel_for((end - begin + part - 1) / part, kReaders, 1, [&](std::int64_t i) {
    const std::int64_t first = begin + i * part;
    rows.fill(first, std::min(first + part, end), to + (first - begin) * row_bytes(rows));
  });
}

at::Tensor on_host(const HostRows& rows) {
  at::Tensor result = at::empty(rows.shape, rows.type);
  if (result.numel() > 0)
    fill(rows, 0, rows.shape[0], static_cast<std::byte*>(result.mutable_data_ptr()));
  return result;
}

}  // namespace

HostRows rows_of(const at::Tensor& tensor) {
  if (!tensor.is_cpu() || !tensor.is_contiguous() || tensor.dim() == 0)
    throw core::InternalError(
        "[linalg::rows_of] the tensor must be contiguous, on the CPU, with rows");
  HostRows rows{.shape = tensor.sizes().vec(), .type = tensor.scalar_type(), .fill = {}};
  const auto bytes = static_cast<std::size_t>(row_bytes(rows));
  rows.fill = [tensor, bytes](std::int64_t begin, std::int64_t end, std::byte* to) {
    std::memcpy(to,
                static_cast<const std::byte*>(tensor.const_data_ptr()) +
                    static_cast<std::size_t>(begin) * bytes,
                static_cast<std::size_t>(end - begin) * bytes);
  };
  return rows;
}

// Two pinned buffers used in turn: one is filled while the other is copied.
struct Uploader::Staging {
  explicit Staging(at::Device d)
      : device(d), stream(c10::cuda::getStreamFromPool(false, d.index())) {}

  at::Device device;
  c10::cuda::CUDAStream stream;
  std::mutex mutex;  // one upload uses the buffers at a time
  std::array<at::Tensor, 2> buffers;
  std::array<at::cuda::CUDAEvent, 2> free;
  std::size_t turn = 0;

  void copy(const HostRows& rows, at::Tensor& to) {
    const std::int64_t bytes = row_bytes(rows);
    if (bytes == 0 || rows.shape[0] == 0) return;
    const std::int64_t step = std::max<std::int64_t>(1, kStagingBytes / bytes);
    for (std::int64_t begin = 0; begin < rows.shape[0]; begin += step) {
      const std::int64_t end = std::min(rows.shape[0], begin + step);
      at::Tensor& buffer = buffers[turn];
      if (!buffer.defined() || buffer.numel() < (end - begin) * bytes) {
        buffer = at::empty({std::max(kStagingBytes, (end - begin) * bytes)},
                           at::TensorOptions().dtype(at::kByte).pinned_memory(true));
      }
      free[turn].synchronize();
      fill(rows, begin, end, reinterpret_cast<std::byte*>(buffer.mutable_data_ptr<std::uint8_t>()));
      at::Tensor slice = to.narrow(0, begin, end - begin).view({-1}).view(at::kByte);
      slice.copy_(buffer.narrow(0, 0, slice.numel()), /*non_blocking=*/true);
      free[turn].record(stream);
      turn = 1 - turn;
    }
  }
};

struct Uploader::Upload::Pending {
  std::future<std::vector<at::Tensor>> result;
  std::shared_ptr<at::cuda::CUDAEvent> done = {};  // recorded after the last copy; null on the CPU

  Pending() = default;
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;
  // The targets belong to the stream that asked for them, whose pool would give their memory to
  // others while the copies on their own stream still write there.
  ~Pending() {
    if (!done || !result.valid()) return;
    try {
      const std::vector<at::Tensor> targets = result.get();
      done->synchronize();
    } catch (...) {  // reading failed, after which nothing is copied any more
    }
  }
};

Uploader::Uploader(at::Device device)
    : device_(device), staging_(device.is_cuda() ? std::make_shared<Staging>(device) : nullptr) {}

Uploader::~Uploader() = default;

Uploader::Upload Uploader::start(std::vector<HostRows> rows) {
  Upload upload;
  upload.pending_ = std::make_shared<Upload::Pending>();
  if (!staging_) {
    upload.pending_->result = std::async(std::launch::deferred, [rows = std::move(rows)] {
      std::vector<at::Tensor> result;
      for (const auto& item : rows) result.push_back(on_host(item));
      return result;
    });
    return upload;
  }
  std::vector<at::Tensor> targets;
  for (const auto& item : rows)
    targets.push_back(at::empty(item.shape, at::TensorOptions().dtype(item.type).device(device_)));
  // Memory from the pool may still be in use by what the current stream has queued.
  const auto allocated = std::make_shared<at::cuda::CUDAEvent>();
  allocated->record(c10::cuda::getCurrentCUDAStream(device_.index()));
  const auto done = std::make_shared<at::cuda::CUDAEvent>();
  upload.pending_->done = done;
  upload.pending_->result =
      std::async(std::launch::async, [staging = staging_, rows = std::move(rows),
                                      targets = std::move(targets), allocated, done]() mutable {
        const std::lock_guard lock(staging->mutex);
        const c10::cuda::CUDAStreamGuard guard(staging->stream);
        allocated->block(staging->stream);
        try {
          for (std::size_t i = 0; i < rows.size(); ++i) staging->copy(rows[i], targets[i]);
        } catch (...) {
          staging->stream.synchronize();  // before the targets are freed
          throw;
        }
        done->record(staging->stream);
        rows.clear();  // files are unmapped here, which takes milliseconds that nobody waits for
        return std::move(targets);
      });
  return upload;
}

std::vector<at::Tensor> Uploader::Upload::wait() {
  if (!pending_ || !pending_->result.valid())
    throw core::InternalError("[linalg::Upload] nothing to wait for");
  std::vector<at::Tensor> result = pending_->result.get();
  if (pending_->done) {
    pending_->done->block(c10::cuda::getCurrentCUDAStream(
        result.empty() ? c10::DeviceIndex(-1) : result.front().device().index()));
  }
  return result;
}

}  // namespace corda::linalg
