// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What stands in for join.cpp where torch has no distributed libraries.
#include "corda/dist/world.h"

namespace corda::dist {

namespace {

[[noreturn]] void refuse() {
  throw core::ConfigError(
      "this corda was built without torch's distributed libraries, so it runs on one GPU; start "
      "one process, or use a build that has them");
}

}  // namespace

std::unique_ptr<World> join(const Launch& /*launch*/, const core::Reporter& /*reporter*/) {
  refuse();
}

std::unique_ptr<MeetingPlace> open_meeting_place(int /*size*/) { refuse(); }

}  // namespace corda::dist
