// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A log that can be searched.
#pragma once

#include <string>

#include "corda/core/reporter.h"

namespace corda {

class CapturedLog : public core::Reporter {
 public:
  void log(core::LogLevel level, std::string_view message) override {
    text += level == core::LogLevel::kWarning ? "warning: " : "info: ";
    text += message;
    text += '\n';
  }
  std::string text;  // "info: ..." or "warning: ...", a line each
};

}  // namespace corda
