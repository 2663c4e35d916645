// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/checkpoint_writer.h"

#include <ATen/ATen.h>

#include <utility>
#include <vector>

#include "corda/core/error.h"
#include "corda/core/room.h"
#include "corda/core/text.h"

namespace corda::train {

using core::concat;

namespace {

// Whether a copy leaves at least as much again for others.
bool has_room_for_copy(const StateTensors& state) {
  return 2 * state.bytes() <= core::available_memory_bytes();
}

}  // namespace

CheckpointWriter::CheckpointWriter(fs::path run, TrainedState& state, core::ConfigNode settings,
                                   std::int64_t keep, core::Reporter& reporter)
    : run_(std::move(run)),
      state_(state),
      settings_(std::move(settings)),
      keep_(keep),
      reporter_(reporter) {}

void CheckpointWriter::begin(const Progress& progress) {
  finish();
  const StateTensors state = state_.tensors();
  const auto guarded = [this, progress](const auto& work) {
    try {
      work();
    } catch (const std::exception& error) {
      failure_ = concat("the checkpoint after step ", progress.steps, " could not be written (",
                        core::first_line(error.what()),
                        "); training goes on, and the next one is tried when its time comes");
    }
  };
  if (!has_room_for_copy(state)) {
    guarded([&] { save_checkpoint(run_, progress, state, settings_, keep_); });
    report_failure();
    return;
  }
  std::vector<at::Tensor> tensors;
  for (std::size_t i = 0; i < state.entries.size(); ++i) {
    const at::Tensor tensor = state.value(i);
    // What is on the host already would be changed by the next step; what was gathered for this, by
    // the next value.
    tensors.push_back(!tensor.is_cuda()   ? tensor.clone()
                      : state_.is_split() ? tensor.cpu()
                                          : tensor);
  }
  const auto copy = std::make_shared<linalg::Download>(std::move(tensors));
  copy_ = copy;
  busy_ = true;
  background_.add([this, guarded, progress, copy, entries = state.entries] {
    guarded([&] {
      const auto& host = copy->wait();
      const StateTensors copied{entries, [&](std::size_t entry) { return host[entry]; }};
      save_checkpoint(run_, progress, copied, settings_, keep_);
    });
    busy_ = false;
  });
}

void CheckpointWriter::wait_for_copy() {
  if (!copy_) return;
  copy_->wait();
  copy_.reset();  // the memory is given back once it is written
}

void CheckpointWriter::finish() {
  wait_for_copy();
  background_.finish();
  report_failure();
}

void CheckpointWriter::write(const Progress& progress) {
  finish();
  save_checkpoint(run_, progress, state_.tensors(), settings_, keep_);
}

void CheckpointWriter::report_failure() {
  if (failure_) reporter_.warn(*std::exchange(failure_, std::nullopt));
}

}  // namespace corda::train
