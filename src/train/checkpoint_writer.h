// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Writes checkpoints while training goes on.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "corda/core/background.h"
#include "corda/core/config_node.h"
#include "corda/core/reporter.h"
#include "corda/linalg/download.h"
#include "train/checkpoint.h"

namespace corda::train {

class CheckpointWriter {
 public:
  // The state and the reporter must outlive it. `settings` and `keep` as of save_checkpoint.
  CheckpointWriter(fs::path run, TrainedState& state, core::ConfigNode settings, std::int64_t keep,
                   core::Reporter& reporter);

  // Takes a copy of parameters and moments to host memory, and writes it beside what follows;
  // at once where there is no room for the copy. One that cannot be written is warned of, and
  // training goes on. Waits for the one before.
  void begin(const Progress& progress);
  // To be called before parameters change: the copy may still be on its way.
  void wait_for_copy();
  bool busy() const { return busy_; }
  // Waits for the checkpoint that is being written.
  void finish();
  // Waits for the one before and writes this one at once. Throws ResourceError.
  void write(const Progress& progress);

 private:
  void report_failure();

  fs::path run_;
  TrainedState& state_;
  core::ConfigNode settings_;
  std::int64_t keep_;
  core::Reporter& reporter_;
  std::shared_ptr<linalg::Download> copy_;
  std::atomic<bool> busy_ = false;
  std::optional<std::string> failure_;  // the background's; others read it while that is not busy
  core::Background background_{/*waiting=*/0};  // last: its thread uses the others
};

}  // namespace corda::train
