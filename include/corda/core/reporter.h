// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// How the library speaks: it never prints, it reports to whoever called it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace corda::core {

enum class LogLevel { kInfo, kWarning };

// Receives log lines and progress, and is asked whether to stop. The default does nothing, so
// `Reporter quiet;` is a complete silent reporter. Called from one thread at a time.
class Reporter {
 public:
  Reporter() = default;
  Reporter(const Reporter&) = delete;
  Reporter& operator=(const Reporter&) = delete;
  virtual ~Reporter() = default;

  virtual void log(LogLevel /*level*/, std::string_view /*message*/) {}

  // A task of `total` units ("layer", "token"...) begins; there is one task at a time. `before` of
  // the units were done by an earlier process.
  virtual void begin(std::string_view /*task*/, std::int64_t /*total*/, std::string_view /*unit*/,
                     std::int64_t /*before*/ = 0) {}
  // `count` more units of the current task are finished; `note` is shown beside the bar.
  virtual void advance(std::int64_t /*count*/, std::string_view /*note*/) {}
  virtual void end() {}

  // True once the user asked to stop; long loops look at it between units of work.
  virtual bool stop_requested() const { return false; }

  void info(std::string_view message) { log(LogLevel::kInfo, message); }
  void warn(std::string_view message) { log(LogLevel::kWarning, message); }
};

// Throws Interrupted when `reporter.stop_requested()`.
void throw_if_stopped(const Reporter& reporter, std::string_view doing);

}  // namespace corda::core
