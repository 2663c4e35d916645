// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The text of the error that a call throws.
#pragma once

#include <string>

namespace corda::testing {

// The message of the ErrorType that `call` throws; "no error" where it throws nothing. Any other
// exception passes through and fails the test.
template <typename ErrorType, typename Call>
std::string error_of(Call&& call) {
  try {
    call();
  } catch (const ErrorType& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace corda::testing
