// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Writes a block's covariances while the next block is run.
#pragma once

#include <future>

#include "corda/covariance/stream.h"
#include "corda/io/covariance_store.h"

namespace corda::calibrate {

class BackgroundWriter {
 public:
  explicit BackgroundWriter(io::CovarianceWriter& writer) : writer_(writer) {}
  BackgroundWriter(const BackgroundWriter&) = delete;
  BackgroundWriter& operator=(const BackgroundWriter&) = delete;
  // Waits for what is being written; its errors are lost, as is the output.
  ~BackgroundWriter();

  // Takes a copy of the covariances on the host and returns; waits for the block before. Throws
  // what writing that block threw.
  void add(const covariance::BlockCovariances& block);
  // Waits for the last block; throws what writing it threw.
  void finish();

 private:
  io::CovarianceWriter& writer_;
  std::future<void> writing_;
};

}  // namespace corda::calibrate
