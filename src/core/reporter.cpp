// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/reporter.h"

#include "corda/core/error.h"

namespace corda::core {

void throw_if_stopped(const Reporter& reporter, std::string_view doing) {
  if (reporter.stop_requested()) throw Interrupted(concat("interrupted while ", doing));
}

}  // namespace corda::core
