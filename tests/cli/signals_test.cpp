// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The first signal of a kind asks the work to stop, the second ends the process.
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>

#include "corda/console_reporter.h"

namespace corda::tools {
namespace {

class Signals : public testing::TestWithParam<int> {};

TEST_P(Signals, TheFirstIsARequest) {
  EXPECT_EXIT(
      {
        handle_signals();
        const ConsoleReporter reporter(/*quiet=*/true);
        const bool before = reporter.stop_requested();
        std::raise(GetParam());
        std::_Exit(!before && reporter.stop_requested() ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST_P(Signals, TheSecondEndsTheProcess) {
  EXPECT_EXIT(
      {
        handle_signals();
        std::raise(GetParam());
        std::raise(GetParam());
        std::_Exit(0);
      },
      testing::KilledBySignal(GetParam()), "");
}

INSTANTIATE_TEST_SUITE_P(Both, Signals, testing::Values(SIGINT, SIGTERM));

}  // namespace
}  // namespace corda::tools
