// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Logs and progress on stderr: a bar with rate and time left on a terminal, plain lines elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "corda/core/reporter.h"

namespace corda::tools {

// SIGINT (Ctrl-C), SIGTERM and SIGHUP (the terminal is gone): from here on the first asks the work
// to stop (every ConsoleReporter says so), and the next Ctrl-C ends the process; the others never
// do. A SIGHUP that was ignored before (nohup) still is. One that comes while the libraries load,
// before main, ends it at once.
void handle_signals();

// From here on the end of whoever reads stdout or stderr (`| tee log`, which a Ctrl-C ends too)
// does not end this process before its work is saved.
void outlive_readers();

class ConsoleReporter final : public core::Reporter {
 public:
  // Quiet: warnings only. Silent: nothing at all, for ranks whose words another one says.
  explicit ConsoleReporter(bool quiet, bool silent = false);

  void log(core::LogLevel level, std::string_view message) override;
  void begin(std::string_view task, std::int64_t total, std::string_view unit,
             std::int64_t before) override;
  void advance(std::int64_t count, std::string_view note) override;
  void end() override;
  bool stop_requested() const override;

 private:
  void draw(bool last);
  void clear_bar();

  using Clock = std::chrono::steady_clock;
  bool terminal_;
  bool quiet_;
  bool silent_;
  bool bar_shown_ = false;
  std::string task_;
  std::string unit_;
  std::string note_;
  std::int64_t total_ = 0;
  std::int64_t done_ = 0;
  std::int64_t before_ = 0;
  Clock::time_point begin_;
  Clock::time_point drawn_;
};

}  // namespace corda::tools
