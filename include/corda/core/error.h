// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Errors typed by cause; each cause has one process exit code.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace corda::core {

// Process exit codes of the command line (0 is success).
enum class ExitCode : int {
  kOk = 0,
  kUsage = 2,         // wrong flag, wrong setting
  kInput = 3,         // a file is missing, malformed, of the wrong shape
  kNumerical = 4,     // a solver failed, a loss became NaN
  kResource = 5,      // no device, out of memory, disk full
  kInternal = 70,     // our own bug
  kInterrupted = 130  // Ctrl-C
};

// Base of all errors thrown by the library. `what()` is one clear sentence:
// what was expected, what came, where, what to do.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const noexcept { return code_; }

 private:
  ExitCode code_;
};

#define CORDA_DEFINE_ERROR(Name, kCode)                                            \
  class Name : public Error {                                                      \
   public:                                                                         \
    explicit Name(const std::string& message) : Error(ExitCode::kCode, message) {} \
  }

CORDA_DEFINE_ERROR(ConfigError, kUsage);         // a setting or flag is wrong
CORDA_DEFINE_ERROR(IoError, kInput);             // a file cannot be found, opened or read
CORDA_DEFINE_ERROR(FormatError, kInput);         // a file's content is not what its format promises
CORDA_DEFINE_ERROR(ShapeError, kInput);          // a tensor has another shape than it must
CORDA_DEFINE_ERROR(NumericalError, kNumerical);  // a solver did not converge, a value is not finite
CORDA_DEFINE_ERROR(ResourceError, kResource);    // no such device, out of memory, disk full
CORDA_DEFINE_ERROR(InternalError, kInternal);    // a broken invariant of our own
CORDA_DEFINE_ERROR(Interrupted, kInterrupted);   // the user asked to stop

#undef CORDA_DEFINE_ERROR

// Joins the arguments as `operator<<` prints them.
template <typename... Args>
std::string concat(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

}  // namespace corda::core
