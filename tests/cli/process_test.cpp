// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What processes that tests start are given does not depend on how the test was started.
#include "support/process.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <optional>

namespace corda::testing {
namespace {

// Sets a variable of the environment for as long as it lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name); before != nullptr) before_ = before;
    ::setenv(name, value, /*overwrite=*/1);
  }
  ~Variable() {
    if (before_)
      ::setenv(name_, before_->c_str(), /*overwrite=*/1);
    else
      ::unsetenv(name_);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

TEST(Process, SeesNoGpuUnlessItIsAskedForAndEverythingElse) {
  const Variable gpus("CUDA_VISIBLE_DEVICES", "0");
  const Variable other("CORDA_TEST_OTHER", "kept");
  const std::vector<std::string> print = {"/bin/sh", "-c",
                                          "echo [${CUDA_VISIBLE_DEVICES-unset}] $CORDA_TEST_OTHER"};
  EXPECT_EQ(run_process(print).out, "[] kept\n");
  EXPECT_EQ(run_process(print, {}, Gpus::kVisible).out, "[0] kept\n");
}

TEST(Process, EndsBySigintThoughTheTestIgnoresIt) {
  auto* const before = ::signal(SIGINT, SIG_IGN);
  const ProcessResult result = run_process({"/bin/sh", "-c", "kill -INT $$; echo alive"});
  ::signal(SIGINT, before);
  EXPECT_EQ(result.exit_code, 128 + SIGINT);
  EXPECT_EQ(result.out, "");
}

}  // namespace
}  // namespace corda::testing
