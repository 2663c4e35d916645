// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The golden files of scripts/golden/chat_templates.py.
#pragma once

#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "corda/jinja/template.h"
#include "core/json.h"
#include "jinja/json_value.h"
#include "jinja/text.h"

namespace corda::jinja {

inline core::Json golden(const char* name) {
  return core::read_json(core::fs::path(CORDA_SOURCE_DIR) / "tests" / "golden" / "chat" / name);
}

// Friday 26 July 2024, 13:05:09.
inline RenderOptions golden_options() {
  std::tm now{};
  now.tm_year = 124;
  now.tm_mon = 6;
  now.tm_mday = 26;
  now.tm_hour = 13;
  now.tm_min = 5;
  now.tm_sec = 9;
  now.tm_wday = 5;
  now.tm_yday = 207;
  return {.limits = {}, .now = now};
}

// "[[1, 2], [3, 4]]", the spans in code points, as the golden script writes them.
inline std::string spans_in_code_points(const Rendering& rendering) {
  std::string out;
  for (const auto& span : rendering.generation) {
    const std::string_view text = rendering.text;
    out += out.empty() ? "[" : ", ";
    out += "[" + std::to_string(length(text.substr(0, static_cast<std::size_t>(span.begin)))) +
           ", " + std::to_string(length(text.substr(0, static_cast<std::size_t>(span.end)))) + "]";
  }
  return out.empty() ? "[]" : out + "]";
}

}  // namespace corda::jinja
