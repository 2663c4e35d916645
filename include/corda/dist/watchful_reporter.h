// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A reporter for work that ranks do beside each other without common calls: whoever asks it whether
// to stop learns that another rank has failed. Several threads may use it: their calls take turns.
#pragma once

#include <mutex>

#include "corda/core/reporter.h"
#include "corda/dist/world.h"

namespace corda::dist {

class WatchfulReporter final : public core::Reporter {
 public:
  // Both must outlive it.
  WatchfulReporter(core::Reporter& reporter, World& world) : reporter_(reporter), world_(world) {}

  void log(core::LogLevel level, std::string_view message) override {
    const std::lock_guard lock(mutex_);
    reporter_.log(level, message);
  }
  void begin(std::string_view task, std::int64_t total, std::string_view unit,
             std::int64_t before) override {
    const std::lock_guard lock(mutex_);
    reporter_.begin(task, total, unit, before);
  }
  void advance(std::int64_t count, std::string_view note) override {
    const std::lock_guard lock(mutex_);
    reporter_.advance(count, note);
  }
  void end() override {
    const std::lock_guard lock(mutex_);
    reporter_.end();
  }
  // Throws PeerLost where another rank has failed or gone.
  bool stop_requested() const override {
    world_.check();
    const std::lock_guard lock(mutex_);
    return reporter_.stop_requested();
  }

 private:
  core::Reporter& reporter_;
  World& world_;
  mutable std::mutex mutex_;
};

}  // namespace corda::dist
