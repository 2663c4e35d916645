// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The first signal asks the work to stop, a Ctrl-C after it ends the process.
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
        std::signal(GetParam(), SIG_DFL);  // the tests themselves may run under nohup
        handle_signals();
        const ConsoleReporter reporter(/*quiet=*/true);
        const bool before = reporter.stop_requested();
        std::raise(GetParam());
        std::_Exit(!before && reporter.stop_requested() ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST_P(Signals, ACtrlCAfterItEndsTheProcess) {
  EXPECT_EXIT(
      {
        std::signal(GetParam(), SIG_DFL);  // the tests themselves may run under nohup
        handle_signals();
        std::raise(GetParam());
        std::raise(SIGINT);
        std::_Exit(0);
      },
      testing::KilledBySignal(SIGINT), "");
}

// A job that saves must not be ended by the scheduler's second message.
TEST_P(Signals, ASigtermAfterItDoesNot) {
  EXPECT_EXIT(
      {
        std::signal(GetParam(), SIG_DFL);  // the tests themselves may run under nohup
        handle_signals();
        std::raise(GetParam());
        std::raise(SIGTERM);
        std::_Exit(0);
      },
      testing::ExitedWithCode(0), "");
}

INSTANTIATE_TEST_SUITE_P(Each, Signals, testing::Values(SIGINT, SIGTERM, SIGHUP));

// `nohup corda train` goes on when its terminal is closed.
TEST(Nohup, ASighupThatWasIgnoredStillIs) {
  EXPECT_EXIT(
      {
        std::signal(SIGHUP, SIG_IGN);
        handle_signals();
        const ConsoleReporter reporter(/*quiet=*/true);
        std::raise(SIGHUP);
        std::_Exit(reporter.stop_requested() ? 1 : 0);
      },
      testing::ExitedWithCode(0), "");
}

// A Ctrl-C on `corda train | tee log` ends tee first, and what is printed then has no reader.
TEST(Pipe, WithoutAReaderTheProcessGoesOnWhereItSaves) {
  EXPECT_EXIT(
      {
        handle_signals();
        outlive_readers();
        std::raise(SIGPIPE);
        std::_Exit(0);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace corda::tools
